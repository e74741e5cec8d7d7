"""The application: every path of the server over one `Service`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response

from gptpy.inference.engine import Engine
from gptpy.inference.server import chat, completions, page, tokenizing
from gptpy.inference.server.access import add_guards, is_public
from gptpy.inference.server.answers import Health, Model, Models, documented
from gptpy.inference.server.body import schemas_of
from gptpy.inference.server.docs import page_of
from gptpy.inference.server.errors import add_handlers
from gptpy.inference.server.requests import RequestMaker
from gptpy.inference.server.schemas import Bodies
from gptpy.inference.server.service import Service
from gptpy.inference.server.settings import ServerSettings
from gptpy.runs.opening import Loaded

ABOUT = """\
OpenAI's protocol over one model. Further fields: `top_k`, `min_p`, `typical_p`, \
`repetition_penalty`, `min_tokens`, `return_token_ids`, `context`. Unknown fields are refused."""


def create_app(
    loaded: Loaded, make_engine: Callable[[], Engine], settings: ServerSettings
) -> FastAPI:
    """The server of a run. `app.state.service` is its `Service`.

    `make_engine`: called once here, and again if a defect ends an engine.
    """
    service = Service(loaded, make_engine, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    app = FastAPI(
        title="gptpy",
        description=ABOUT,
        version="1",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service, app.state.settings = service, settings
    add_handlers(app)
    add_guards(app, settings)
    maker = RequestMaker(service)
    app.include_router(completions.router(service, maker))
    app.include_router(chat.router(service, maker))
    app.include_router(tokenizing.router(service))
    app.include_router(_about(service, maker))
    app.include_router(page.router(service))

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title, version=app.version, description=ABOUT, routes=app.routes
            )
            found["components"]["schemas"].update(schemas_of([*Bodies, *page.Bodies]))
            _add_key(found, settings)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page_of(app.openapi()))

    return app


def _add_key(found: dict[str, Any], settings: ServerSettings) -> None:
    if settings.api_key is not None:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
        for path, methods in found["paths"].items():
            if is_public(path):
                for about in methods.values():
                    about["security"] = []


def _about(service: Service, make: RequestMaker) -> APIRouter:
    """What there is, and how it does."""
    routes = APIRouter(tags=["server"])
    model = Model(
        id=service.settings.name,
        created=int(time.time()),
        max_model_len=service.loaded.config.model.block_size,
    )

    @routes.get("/v1/models", summary="The model", responses=documented(Models, 401))
    async def models() -> Models:
        """A list of one."""
        return Models(data=[model])

    @routes.get(
        "/v1/models/{model_id:path}", summary="One model", responses=documented(Model, 401, 404)
    )
    async def one_model(model_id: str) -> Model:
        """The model of this name."""
        make.check_model(model_id)
        return model

    @routes.get(
        "/health",
        summary="Whether requests are taken",
        response_model=None,
        responses={**documented(Health, 400), 503: {"model": Health}},
    )
    async def health() -> JSONResponse:
        """200 while requests are taken, else 503."""
        status = "ok" if service.healthy else "stopping" if service.draining else "failed"
        found = Health(status=status, model=service.settings.name)
        return JSONResponse(found.model_dump(), 200 if status == "ok" else 503)

    @routes.get(
        "/metrics",
        summary="Counts for Prometheus",
        response_class=Response,  # the class's own type would be documented for errors, too
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            401: documented(Health, 401)[401],
        },
    )
    async def metrics() -> Response:
        """In Prometheus' text format."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(service.metrics.text(), media_type=kind)

    return routes
