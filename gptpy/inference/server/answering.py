"""From a checked body to the engine and back to the client, whole or as a stream of events."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gptpy.inference.request import Handle, Piece, Request
from gptpy.inference.server.errors import ApiError
from gptpy.inference.server.schemas import Generation
from gptpy.inference.server.service import Service
from gptpy.inference.server.stream import Stream

EVENTS = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would collect the stream
}
MOST_TOLD = 1 << 20
"""Most tokens, with alternatives, of all texts of a request."""
DONE = b"data: [DONE]\n\n"


class Form(Protocol):
    """How texts are written into answers: as completions or as a chat's."""

    kind: str
    """The beginning of ids."""
    whole_object: str
    chunk_object: str

    def choice(self, index: int, handle: Handle, sample: int) -> dict[str, Any]:
        """A text that has ended."""
        ...

    def opening(self, index: int) -> dict[str, Any] | None:
        """What a stream says of a text before it begins."""
        ...

    def parts(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """What a stream says of new tokens, and of the end; empty if there is nothing to say."""
        ...


async def answer(
    service: Service,
    http: HttpRequest,
    body: Generation,
    requests: Sequence[Request],
    form: Form,
) -> Response:
    """Submits the requests of one client and answers. Raises `ApiError`, `ConfigError`.

    When the client leaves, its texts end within a step.
    """
    _check_size(requests)
    stream = service.submit(requests, live=bool(body.stream))
    seconds = service.settings.timeout_seconds
    problem = ApiError(
        504,
        f"the request took longer than {seconds:g} seconds",
        code="timeout",
        headers={"X-Should-Retry": "false"},  # it would take as long again
    )
    timer = asyncio.get_running_loop().call_later(seconds, stream.end, problem)
    about = {
        "id": f"{form.kind}-{secrets.token_hex(12)}",
        "object": form.chunk_object if body.stream else form.whole_object,
        "created": int(time.time()),
        "model": service.settings.name,
    }
    if body.stream:
        options = body.stream_options
        with_usage = options is not None and bool(options.include_usage)
        return EventStream(stream, _events(stream, form, about, with_usage), timer)
    leaving = asyncio.ensure_future(_until_left(http.receive))
    leaving.add_done_callback(lambda _: stream.end())
    try:
        await stream.wait()
    finally:
        leaving.cancel()
        timer.cancel()
    choices = [
        form.choice(place * handle.request.n + output.index, handle, output.index)
        for place, handle in enumerate(stream.handles)
        for output in handle.outputs
    ]
    return JSONResponse({**about, "choices": choices, "usage": usage(stream.handles)})


def _check_size(requests: Sequence[Request]) -> None:
    """`ApiError` 400 for answers whose tokens and alternatives would fill the memory."""
    told = sum(one.n * one.max_tokens * (1 + (one.logprobs or 0)) for one in requests)
    if told > MOST_TOLD:
        raise ApiError(
            400,
            "the answer would be too long: texts x max_tokens x (1 + alternatives) may be at most "
            f"{MOST_TOLD}, got {told}",
            code="request_too_large",
        )


def usage(handles: Sequence[Handle]) -> dict[str, Any]:
    """Tokens of prompts, each counted once, and of texts, with the ones that ended them."""
    prompt = sum(len(handle.request.prompt) for handle in handles)
    new = sum(len(output.ids) for handle in handles for output in handle.outputs)
    cached = sum(handle.cached_tokens for handle in handles)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": new,
        "total_tokens": prompt + new,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


async def _until_left(receive: Receive) -> None:
    """Returns when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _events(
    stream: Stream, form: Form, about: dict[str, Any], with_usage: bool
) -> AsyncIterator[tuple[bytes, bool]]:
    """The events of a stream, and whether more follow; those that are ready together are one."""
    counted = {"usage": None} if with_usage else {}
    # The same in every chunk, so it is written once.
    head = _written({**about, **counted})[:-1] + b',"choices":['

    def chunk(choice: dict[str, Any]) -> bytes:
        return b"data: " + head + _written(choice) + b"]}\n\n"

    samples = [
        place * handle.request.n + output.index
        for place, handle in enumerate(stream.handles)
        for output in handle.outputs
    ]
    openings = [opening for index in samples if (opening := form.opening(index)) is not None]
    ready = [chunk(opening) for opening in openings]
    while not stream.ended:
        if ready:
            yield b"".join(ready), True
        ready = [
            chunk(part)
            for index, piece in merged(stream, await stream.pieces())
            for part in form.parts(index, piece)
        ]
    # What comes last goes out as one: every sending costs time that the engine's thread lacks.
    try:
        stream.check()
    except ApiError as error:
        yield b"".join([*ready, b"data: ", _written(error.body), b"\n\n"]), False
        return
    if with_usage:
        last = {**about, "choices": [], "usage": usage(stream.handles)}
        ready.append(b"data: " + _written(last) + b"\n\n")
    yield b"".join([*ready, DONE]), False


def merged(stream: Stream, found: Sequence[tuple[int, Piece]]) -> list[tuple[int, Piece]]:
    """One piece for each text, with its number in the answer."""
    made: dict[int, Piece] = {}
    for place, piece in found:
        index = place * stream.handles[place].request.n + piece.index
        if index not in made:
            made[index] = piece
            continue
        one = made[index]
        made[index] = Piece(
            piece.handle,
            piece.index,
            one.text + piece.text,
            one.ids + piece.ids,
            one.logprobs + piece.logprobs,
            piece.finish_reason,
        )
    return list(made.items())


def _written(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


class EventStream(Response):
    """Server-sent events of one client's texts; they end within a step when it leaves."""

    def __init__(
        self,
        stream: Stream,
        events: AsyncIterator[tuple[bytes, bool]],
        timer: asyncio.TimerHandle,
    ) -> None:
        super().__init__(status_code=200, headers=EVENTS, media_type="text/event-stream")
        del self.headers["content-length"]
        self._stream, self._events, self._timer = stream, events, timer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.ensure_future(_until_left(receive))
        leaving.add_done_callback(lambda _: self._stream.end())
        try:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            async for event, more in self._events:
                await send({"type": "http.response.body", "body": event, "more_body": more})
        finally:
            self._stream.end()
            leaving.cancel()
            self._timer.cancel()
