"""Who may ask: the key, the host names, other web sites. All before a request is looked at."""

from __future__ import annotations

import hmac

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gptpy.inference.server.errors import ApiError
from gptpy.inference.server.settings import ServerSettings

PUBLIC = frozenset({"/", "/health", "/docs", "/openapi.json"})
"""Paths without data of the run; files of the page are public, too."""
PUBLIC_FOLDER = "/static/"


def is_public(path: str) -> bool:
    """Whether a path is answered without the key."""
    return path in PUBLIC or path.startswith(PUBLIC_FOLDER)


class Guard:
    """Refuses requests without the key, and those that were meant for another host."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._key = None if settings.api_key is None else settings.api_key.encode()
        self._hosts = settings.hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            problem = self._problem(scope)
            if problem is not None:
                await problem.answer()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _problem(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        host = host_name(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return ApiError(
                400,
                f"this server does not answer for the host {host[:80]!r}; its owner can allow it "
                "(--allow-host)",
                code="unknown_host",
            )
        path: str = scope["path"]
        if self._key is None or is_public(path):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Both are compared in full, in a time that does not depend on where they differ.
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._key)
        if scheme.lower() == "bearer" and right:
            return None
        return ApiError(
            401,
            "the API key is missing or wrong: expected `Authorization: Bearer KEY`",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )


def host_name(host: str) -> str:
    """The name in a `Host` header, without the port, in lower case."""
    name, colon, port = host.rpartition(":")
    if colon and (port.isdecimal() or not port) and (":" not in name or name.endswith("]")):
        host = name
    return host.lower()


def add_guards(app: FastAPI, settings: ServerSettings) -> None:
    """Puts the checks before `app`. Browsers ask about CORS without the key: that comes first."""
    app.add_middleware(Guard, settings=settings)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
            max_age=600,
        )
