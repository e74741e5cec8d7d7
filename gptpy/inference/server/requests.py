"""The engine's request from a checked body and a prompt."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

from gptpy.inference.constraints import Constraint, Constraints
from gptpy.inference.conversation import Prompt
from gptpy.inference.request import Request
from gptpy.inference.sampling import Sampling
from gptpy.inference.server.errors import ApiError
from gptpy.inference.server.schemas import AsSchema, AsText, Generation
from gptpy.inference.server.service import Service

T = TypeVar("T")
SMALL = 4096
"""Characters of text that are worked on at once; longer ones in another thread."""
KEPT = 32
"""Compiled schemas."""
ANY_OBJECT = '{"type": "object"}'


class RequestMaker:
    """Makes requests for one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._constraints: Constraints | None = None
        self._compiled: OrderedDict[str, Constraint] = OrderedDict()
        self._lock = threading.Lock()

    def check_model(self, name: str | None) -> None:
        """404 for another model than this server's."""
        own = self._service.settings.name
        if name is not None and name != own:
            raise ApiError(
                404,
                f"there is no model {name[:80]!r} here; this server has {own!r}",
                "model",
                "model_not_found",
            )

    def request(
        self, body: Generation, prompt: Prompt, default: int, constraint: Constraint | None
    ) -> Request:
        """One request; `default`: new tokens where the client does not say.

        `ApiError` 413 for a prompt that is too long, 400 for one that does not fit the model.
        """
        settings = self._service.settings
        block = self._service.loaded.config.model.block_size
        length = len(prompt.ids)
        if length > settings.max_prompt_tokens:
            raise ApiError(
                413,
                f"the prompt is too long: at most {settings.max_prompt_tokens} tokens are taken, "
                f"got {length}",
                code="request_too_large",
            )
        if length > block and body.context != "crop":
            raise ApiError(
                400,
                f"the prompt has {length} tokens, the model's context {block}: shorten it, or "
                "take context = 'crop' to keep the last tokens",
                code="context_length_exceeded",
            )
        most = body.max_tokens
        if most is None:
            most = max(1, min(default, settings.max_new_tokens), body.min_tokens or 0)
        if most > settings.max_new_tokens:
            raise ApiError(
                400,
                f"max_tokens: at most {settings.max_new_tokens} new tokens are made, got {most}",
                "max_tokens",
            )
        stop = body.stop or ()
        return Request(
            **prompt.arguments,
            max_tokens=most,
            min_tokens=body.min_tokens or 0,
            sampling=sampling(body),
            seed=body.seed,
            n=body.n or 1,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            logprobs=getattr(body, "alternatives", None),
            constraint=constraint,
            context=body.context or "crop",
        )

    async def constraint(self, body: Generation) -> Constraint | None:
        """What the text must match. `ConfigError` for a schema that cannot be followed."""
        wanted = body.response_format
        if wanted is None or isinstance(wanted, AsText):
            return None
        text = ANY_OBJECT
        if isinstance(wanted, AsSchema):
            text = json.dumps(wanted.json_schema.schema_ or {})
        return await run_in_threadpool(self._compile, text)

    def _compile(self, schema: str) -> Constraint:
        with self._lock:
            if schema in self._compiled:
                self._compiled.move_to_end(schema)
                return self._compiled[schema]
            if self._constraints is None:
                loaded = self._service.loaded
                self._constraints = Constraints(
                    loaded.tokenizer, loaded.config.model.vocab_size, loaded.end_of_text
                )
            made = self._constraints.compile("json_schema", schema)
            self._compiled[schema] = made
            if len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
            return made


def sampling(body: Generation) -> Sampling:
    """How tokens are drawn, OpenAI's defaults where the client does not say."""
    given: dict[str, Any] = {
        name: value
        for name in (
            "temperature", "top_k", "top_p", "min_p", "typical_p",
            "repetition_penalty", "presence_penalty", "frequency_penalty",
        )
        if (value := getattr(body, name)) is not None
    }  # fmt: skip
    bias = {int(key): value for key, value in (body.logit_bias or {}).items()}
    return Sampling(**given, logit_bias=bias)


async def off_loop(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """`function(*arguments)`, in another thread if `size` characters would hold others up."""
    if size <= SMALL:
        return function(*arguments)
    return await run_in_threadpool(function, *arguments)
