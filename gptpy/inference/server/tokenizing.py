"""`/tokenize` and `/detokenize`: the run's tokenizer, or a published one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from gptpy.inference.pieces import token_text
from gptpy.inference.server.answers import Text, Tokens, documented
from gptpy.inference.server.body import json_body, request_body
from gptpy.inference.server.errors import ApiError
from gptpy.inference.server.requests import off_loop
from gptpy.inference.server.schemas import ENCODINGS, OWN, DetokenizeRequest, TokenizeRequest
from gptpy.inference.server.service import Service
from gptpy.tokenizer import Tokenizer, decode_ids, open_tokenizer

CODES = (400, 401, 408, 413, 415, 422, 500)


def router(service: Service) -> APIRouter:
    """The two paths."""
    routes = APIRouter(tags=["tokens"])

    async def tokenizer(name: str | None) -> Tokenizer:
        if name is None or name == OWN:
            return service.loaded.tokenizer
        if name not in ENCODINGS:  # a client's text never becomes the name of a file
            raise ApiError(400, f"encoding: expected one of {', '.join(ENCODINGS)}", "encoding")
        return await run_in_threadpool(open_tokenizer, name)

    def cut(one: Tokenizer, text: str) -> dict[str, Any]:
        ids = list(one.encode_ordinary(text))
        limit = service.settings.max_prompt_tokens
        if len(ids) > limit:
            raise ApiError(
                413,
                f"the text is too long: at most {limit} tokens are told, it has {len(ids)}",
                code="request_too_large",
            )
        return {"ids": ids, "tokens": [token_text(one, i) for i in ids], "count": len(ids)}

    @routes.post(
        "/tokenize",
        summary="Text to ids",
        response_model=None,
        responses=documented(Tokens, *CODES),
        openapi_extra=request_body(TokenizeRequest),
    )
    async def tokenize(
        body: Annotated[TokenizeRequest, json_body(TokenizeRequest)],
    ) -> JSONResponse:
        """The ids of a text and the text of each; nothing is put before or behind."""
        one = await tokenizer(body.encoding)
        return JSONResponse(await off_loop(len(body.text), cut, one, body.text))

    @routes.post(
        "/detokenize",
        summary="Ids to text",
        response_model=None,
        responses=documented(Text, *CODES),
        openapi_extra=request_body(DetokenizeRequest),
    )
    async def detokenize(
        body: Annotated[DetokenizeRequest, json_body(DetokenizeRequest)],
    ) -> JSONResponse:
        """The text of ids."""
        one = await tokenizer(body.encoding)
        return JSONResponse({"text": await off_loop(len(body.ids), decode_ids, one, body.ids)})

    return routes
