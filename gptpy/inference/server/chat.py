"""`/v1/chat/completions`: answers in a conversation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response

from gptpy.inference.conversation import read_messages
from gptpy.inference.request import Handle, Piece
from gptpy.inference.server.answering import answer
from gptpy.inference.server.answers import ChatCompletion, documented
from gptpy.inference.server.body import json_body, request_body
from gptpy.inference.server.errors import ApiError
from gptpy.inference.server.requests import RequestMaker, off_loop
from gptpy.inference.server.schemas import ChatRequest
from gptpy.inference.server.service import Service
from gptpy.inference.server.tokens import ChatLogprobs


class ChatForm:
    """How answers are written."""

    kind = "chatcmpl"
    whole_object, chunk_object = "chat.completion", "chat.completion.chunk"

    def __init__(self, tokenizer: Any, body: ChatRequest) -> None:
        self._with_ids = bool(body.return_token_ids)
        self._with_logprobs = bool(body.logprobs)
        self._logprobs = ChatLogprobs(tokenizer, self._with_ids)

    def choice(self, index: int, handle: Handle, sample: int) -> dict[str, Any]:
        """An answer that has ended."""
        output = handle.outputs[sample]
        message = {"role": "assistant", "content": output.text, "refusal": None}
        choice = {
            "index": index,
            "message": message,
            "logprobs": self._logprobs.of(output.logprobs) if self._with_logprobs else None,
            "finish_reason": output.finish_reason,
        }
        return {**choice, "token_ids": output.ids} if self._with_ids else choice

    def opening(self, index: int) -> dict[str, Any] | None:
        """Who speaks."""
        return self._chunk(index, {"role": "assistant", "content": ""})

    def parts(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """New text, and by itself the reason of its end."""
        made = []
        if piece.text or (piece.ids and (self._with_ids or self._with_logprobs)):
            made.append(self._chunk(index, {"content": piece.text}, piece))
        if piece.finish_reason in ("stop", "length"):
            made.append({**self._chunk(index, {}), "finish_reason": piece.finish_reason})
        return made

    def _chunk(
        self, index: int, delta: dict[str, Any], piece: Piece | None = None
    ) -> dict[str, Any]:
        told = piece is not None and self._with_logprobs
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": self._logprobs.of(piece.logprobs) if told and piece else None,
            "finish_reason": None,
        }
        return {**choice, "token_ids": piece.ids if piece else []} if self._with_ids else choice


def router(service: Service, make: RequestMaker) -> APIRouter:
    """The path."""
    routes = APIRouter(tags=["text"])

    @routes.post(
        "/v1/chat/completions",
        summary="Answer in a conversation",
        response_model=None,
        responses=documented(ChatCompletion, streams=True),
        openapi_extra=request_body(ChatRequest),
    )
    async def chat_completions(
        http: HttpRequest, body: Annotated[ChatRequest, json_body(ChatRequest)]
    ) -> Response:
        """Answers the last message, in the form that the model learned conversations in.

        A model that has learned none refuses (400, `no_chat_template`).
        """
        make.check_model(body.model)
        if not service.prompts.has_template:
            raise ApiError(400, service.prompts.no_template, "messages", "no_chat_template")
        messages = read_messages([message.model_dump() for message in body.messages])
        size = sum(len(message.content) for message in messages)
        constraint = await make.constraint(body)
        prompt = await off_loop(size, service.prompts.of_messages, messages)
        body.max_tokens = body.max_completion_tokens or body.max_tokens
        # Nothing is computed for the last token: one more than the room fits.
        room = service.loaded.config.model.block_size + 1 - len(prompt.ids)
        request = make.request(body, prompt, room, constraint)
        form = ChatForm(service.loaded.tokenizer, body)
        return await answer(service, http, body, [request], form)

    return routes
