"""Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException

from gptpy.config.errors import ConfigError

TOGETHER = "together"
"""The kind of problem that is about several fields; its message names them."""
TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ErrorDetail(BaseModel):
    """What went wrong, and in which field."""

    model_config = ConfigDict(extra="forbid")

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """The body of every answer that is no success."""

    model_config = ConfigDict(extra="forbid")

    error: ErrorDetail


class ApiError(HTTPException):
    """An answer with an error. `status`: of HTTP; `param`: the field; `code`: for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.param, self.code = param, code

    @property
    def body(self) -> dict[str, Any]:
        """The object that is sent."""
        default = "invalid_request_error" if self.status_code < 500 else "server_error"
        kind = TYPES.get(self.status_code, default)
        detail = {"message": self.detail, "type": kind, "param": self.param, "code": self.code}
        return {"error": detail}

    def answer(self) -> JSONResponse:
        """The response."""
        return JSONResponse(self.body, self.status_code, self.headers)


def add_handlers(app: FastAPI) -> None:
    """Lets every error of `app` have this form."""

    async def of_http(_: Request, error: Exception) -> JSONResponse:
        if isinstance(error, ApiError):
            return error.answer()
        assert isinstance(error, HTTPException)
        return ApiError(error.status_code, str(error.detail), headers=error.headers).answer()

    async def of_settings(_: Request, error: Exception) -> JSONResponse:
        return ApiError(400, str(error)).answer()

    async def of_defect(_: Request, __: Exception) -> JSONResponse:
        # The server's log has the traceback: clients get no internals.
        return ApiError(500, "the server failed to answer; its log has the reason").answer()

    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(ConfigError, of_settings)
    app.add_exception_handler(Exception, of_defect)


def of_validation(
    error: ValidationError, unsupported: Mapping[str, Any], known: Sequence[str]
) -> ApiError:
    """The first problems of a body, each with the field.

    `unsupported`: fields that are refused by name; `known`: those that there are.
    """
    found = error.errors(include_url=False, include_context=False)
    named = [_problem(one, unsupported, known) for one in found[:3]]
    if len(found) > 3:
        named.append(f"and {len(found) - 3} more")
    first = found[0]
    code = {"extra_forbidden": "unknown_parameter", "missing": "missing_parameter"}.get(
        first["type"]
    )
    place = _place(first["loc"])
    if first["type"] == "extra_forbidden" and place in unsupported:
        code = "unsupported_parameter"
    return ApiError(422, "; ".join(named), place or None, code)


def _place(location: tuple[int | str, ...]) -> str:
    """`messages[0].content` for ("messages", 0, "content")."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _problem(one: Any, unsupported: Mapping[str, Any], known: Sequence[str]) -> str:
    place = _place(one["loc"]) or "the body"
    if one["type"] == "extra_forbidden":
        if place in unsupported:
            return f"{place}: this server does not support it; leave it out"
        near = get_close_matches(place, known, n=1) if place.isidentifier() else []
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{place[:80]}: there is no such field{hint}"
    if one["type"] == "missing":
        return f"{place}: this field is needed"
    message = one["msg"].replace("Input should be", "expected").replace("a valid ", "a ")
    message = re.sub(r"\ba (?=[aeio])", "an ", message)
    if one["type"] == TOGETHER:
        return message
    return f"{place}: {message}, got {shown(one['input'])}"


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    if isinstance(value, (list, dict)) and len(value) > 8:
        return f"{'an array' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."
