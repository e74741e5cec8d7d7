"""Bodies of requests, read strictly: size, time, type, then JSON of one meaning only.

JSON leaves open what a repeated key means, how large a number may be and how deep values nest;
parsers differ there. All of that is refused, so that what was checked is what is used.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any, ClassVar

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.json_schema import models_json_schema

from gptpy.inference.server.errors import ApiError, of_validation

DEEPEST = 64
"""Arrays and objects inside each other."""
DIGITS = 40
"""Longest integers."""
COMPONENTS = "#/components/schemas/{model}"


class Body(BaseModel):
    """A request's body. Types are not converted and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    unsupported: ClassVar[dict[str, tuple[Any, ...]]] = {}
    """Fields of OpenAI's that are refused by name, with the values that ask for nothing."""

    @model_validator(mode="before")
    @classmethod
    def leave_out_what_asks_for_nothing(cls, value: Any) -> Any:
        """Clients send fields that they do not use as null."""
        if not isinstance(value, dict):
            return value
        return {
            key: item
            for key, item in value.items()
            if key not in cls.unsupported or not _is_one_of(item, cls.unsupported[key])
        }


def _is_one_of(item: Any, values: tuple[Any, ...]) -> bool:
    return any(type(item) is type(value) and item == value for value in values)


def json_body(model: type[Body]) -> Any:
    """A dependency: the body of a request as `model`. Raises `ApiError`."""

    async def read(request: Request) -> Any:
        settings = request.app.state.settings
        value = parse(await _received(request, settings.max_body_bytes, settings.body_seconds))
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise of_validation(error, model.unsupported, list(model.model_fields)) from None

    return Depends(read)


def request_body(model: type[Body]) -> dict[str, Any]:
    """What OpenAPI says of the same body; `schemas_of` has the definitions."""
    reference = {"$ref": COMPONENTS.format(model=model.__name__)}
    content = {"application/json": {"schema": reference}}
    return {"requestBody": {"required": True, "content": content}}


def schemas_of(models: list[type[Body]]) -> dict[str, Any]:
    """JSON schemas of bodies and of their parts, by name."""
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=COMPONENTS
    )
    return found.get("$defs", {})


async def _received(request: Request, limit: int, seconds: float) -> bytes:
    """The body; 413 if it is too long, 415 for another type, 408 if it does not come."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"content-type: expected application/json, got {kind or 'none'}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "content-encoding: compressed bodies are not read")
    too_long = ApiError(
        413,
        f"the body is too long: at most {limit} bytes are read",
        code="request_too_large",
        headers={"Connection": "close"},  # the rest is not read
    )
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 18 or int(length) > limit:
        raise too_long
    parts: list[bytes] = []
    size = 0

    async def collect() -> None:
        nonlocal size
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise too_long
            parts.append(part)

    try:
        await asyncio.wait_for(collect(), seconds)
    except asyncio.TimeoutError:
        message = f"the body has not arrived within {seconds:g} seconds"
        raise ApiError(408, message, headers={"Connection": "close"}) from None
    return b"".join(parts)


def parse(body: bytes) -> Any:
    """The value of strict JSON. Raises `ApiError` 400."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except RecursionError:
        raise _malformed(f"values nest deeper than {DEEPEST}") from None
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    _check(value)
    return value


def _malformed(reason: str) -> ApiError:
    return ApiError(400, f"the body cannot be read as JSON: {reason}", code="invalid_json")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice[:80]!r} stands twice in an object")
    return made


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:DIGITS]} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"an integer of {len(text)} digits is too large")
    return int(text)


def _check(value: Any) -> None:
    """Depth, and that every text is Unicode: escapes can write half a character."""
    level = [value]
    for _ in range(DEEPEST + 1):
        if not level:
            return
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if not item.isascii():
                    try:
                        item.encode("utf-8")
                    except UnicodeEncodeError:
                        raise _malformed("a text has half of a surrogate pair") from None
            elif isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
    raise _malformed(f"values nest deeper than {DEEPEST}")
