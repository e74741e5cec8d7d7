"""`/v1/completions`: texts that go on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response

from gptpy.inference.conversation import Prompt
from gptpy.inference.request import Handle, Piece
from gptpy.inference.server.answering import answer
from gptpy.inference.server.answers import Completion, documented
from gptpy.inference.server.body import json_body, request_body
from gptpy.inference.server.requests import RequestMaker, off_loop
from gptpy.inference.server.schemas import CompletionRequest
from gptpy.inference.server.service import Service
from gptpy.inference.server.tokens import CompletionLogprobs

NEW_TOKENS = 16
"""OpenAI's default."""


class CompletionForm:
    """How completions are written."""

    kind = "cmpl"
    whole_object = chunk_object = "text_completion"

    def __init__(self, tokenizer: Any, body: CompletionRequest) -> None:
        self._tokenizer = tokenizer
        self._with_ids = bool(body.return_token_ids)
        self._with_logprobs = body.logprobs is not None
        self._logprobs: dict[int, CompletionLogprobs] = {}

    def choice(self, index: int, handle: Handle, sample: int) -> dict[str, Any]:
        """A text that has ended."""
        output = handle.outputs[sample]
        whole = Piece(
            handle, sample, output.text, output.ids, output.logprobs, output.finish_reason
        )
        return self._written(index, whole)

    def opening(self, index: int) -> dict[str, Any] | None:
        """Nothing is said before the text."""
        return None

    def parts(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """New text, and the reason of its end, in one."""
        ends = piece.finish_reason in ("stop", "length")
        if piece.text or ends or (piece.ids and (self._with_ids or self._with_logprobs)):
            return [self._written(index, piece)]
        return []

    def _written(self, index: int, piece: Piece) -> dict[str, Any]:
        logprobs = None
        if self._with_logprobs:
            if index not in self._logprobs:
                self._logprobs[index] = CompletionLogprobs(self._tokenizer, self._with_ids)
            logprobs = self._logprobs[index].of(piece.logprobs)
        ended = piece.finish_reason in ("stop", "length")
        reason = piece.finish_reason if ended else None
        choice = {
            "index": index,
            "text": piece.text,
            "logprobs": logprobs,
            "finish_reason": reason,
        }
        return {**choice, "token_ids": piece.ids} if self._with_ids else choice


def router(service: Service, make: RequestMaker) -> APIRouter:
    """The path."""
    routes = APIRouter(tags=["text"])

    def of_text(text: str) -> Prompt:
        return service.prompts.of_text(text, raw=True)

    async def prompts(body: CompletionRequest) -> list[Prompt]:
        found = body.prompt
        if isinstance(found, str):
            found = [found]
        if isinstance(found[0], int):
            found = [found]
        made = []
        for one in found:
            if isinstance(one, str):
                made.append(await off_loop(len(one), of_text, one))
            else:
                made.append(service.prompts.of_ids(one))  # type: ignore[arg-type]
        return made

    @routes.post(
        "/v1/completions",
        summary="Continue a text",
        response_model=None,
        responses=documented(Completion, streams=True),
        openapi_extra=request_body(CompletionRequest),
    )
    async def completions(
        http: HttpRequest, body: Annotated[CompletionRequest, json_body(CompletionRequest)]
    ) -> Response:
        """Continues a prompt, or many, with `n` texts each.

        Choice `i * n + j` is text j of prompt i. A token that ends a text counts, and stands in
        `token_ids` and `logprobs`.
        """
        make.check_model(body.model)
        constraint = await make.constraint(body)
        requests = [
            make.request(body, prompt, NEW_TOKENS, constraint) for prompt in await prompts(body)
        ]
        form = CompletionForm(service.loaded.tokenizer, body)
        return await answer(service, http, body, requests, form)

    return routes
