"""The page at `/`: its files, and what only it asks for (`/page/...`)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from gptpy.config.errors import ConfigError
from gptpy.inference.attention import Maps
from gptpy.inference.conversation import read_messages
from gptpy.inference.glance import Glance
from gptpy.inference.page import FOLDER
from gptpy.inference.server.answers import Answer, documented
from gptpy.inference.server.body import Body, json_body, request_body
from gptpy.inference.server.errors import ApiError
from gptpy.inference.server.schemas import ChatMessage
from gptpy.inference.server.service import Service

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
MOST_CHARACTERS = 20_000
"""Of a text whose attention is asked for."""
MOST_WAITING = 4
"""Requests for attention at the same time: each delays the next token of every text."""
CODES = (400, 401, 408, 413, 415, 422, 429, 500, 503)

# The page loads its own files and talks to its own server, nothing else. Text never becomes
# markup: with trusted types a browser refuses `innerHTML` altogether.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Kept by the browser and asked about each time, so that files of two versions never mix
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class StaticFile:
    """A file of the page, read once."""

    content: bytes
    media_type: str
    etag: str

    def answer(self, request: Request) -> Response:
        """The file, or 304 where the browser has it."""
        headers = {**HEADERS, "ETag": self.etag}
        known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
        if self.etag in known or f"W/{self.etag}" in known:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def static_files(folder: Path = FOLDER) -> dict[str, StaticFile]:
    """Every file of the page by its name. A name that is not here is not served."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in TYPES and path.is_file():
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.name] = StaticFile(content, TYPES[path.suffix], etag)
    return found


class CurveAnswer(Answer):
    """Loss over steps."""

    training: list[tuple[int, float, float, float]] = Field(
        description="Step, mean, lowest and highest"
    )
    validation: list[tuple[int, float, int | None]] = Field(
        description="Step, loss, stride of the windows"
    )
    not_finite: int = Field(description="Rows left out: their loss is no number")
    bits_per_nat: float | None = Field(description="Bits per byte for a nat per token, if known")


class SamplesAnswer(Answer):
    """The end of `samples.txt`."""

    text: str
    cut: int = Field(description="Bytes left out before it")


class AttentionShape(Answer):
    """What there is to ask for."""

    kinds: list[str]
    layers: int
    encoder_layers: int
    most_tokens: int


class RunAnswer(Answer):
    """A run at a glance; losses are in nats per token."""

    name: str
    step: int
    chosen: str = Field(description="Why the checkpoint of this step is used")
    chat: bool = Field(description="Whether it answers conversations")
    model: dict[str, Any]
    parameters: int
    encodings: list[str] = Field(description="What /tokenize knows")
    summary: dict[str, Any]
    curve: CurveAnswer
    samples: SamplesAnswer
    attention: AttentionShape


class AttentionRequest(Body):
    """A text, and which layer's attention to compute for it."""

    text: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    kind: str | None = Field(None, description="self, cross or encoder (default: the first it has)")
    layer: int = Field(0, ge=0, le=10_000)


class PromptRequest(Body):
    """A text, or a conversation: one of both."""

    text: str | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1, max_length=1024)


class Token(Answer):
    """An id and its text."""

    id: int
    text: str


class AttentionAnswer(Answer):
    """Attention weights `(heads, tokens, looked_at)` of one layer."""

    kind: str
    layer: int
    tokens: list[Token]
    looked_at: list[Token]
    left_out: int = Field(description="Tokens of the text behind the last one that is shown")
    weights: list[list[list[float]]]


class PromptAnswer(Answer):
    """The ids that the model continues."""

    ids: list[int]


Bodies: list[type[Body]] = [AttentionRequest, PromptRequest]


def router(service: Service) -> APIRouter:
    """The page's files (open to anyone: they hold no secret) and what tells it about the run."""
    routes = APIRouter(tags=["page"])
    files = static_files()
    chats = service.prompts.has_template
    glance = Glance(service.loaded, service.settings.name, chats=chats)
    maps = Maps(service.loaded, service.prompts)
    waiting = 0

    @routes.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return files["index.html"].answer(request)

    # A name is looked up, never joined to a folder's path
    @routes.get("/static/{name}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        if name not in files:
            raise ApiError(404, "the page has no such file")
        return files[name].answer(request)

    @routes.get(
        "/page/run", summary="The run at a glance", responses=documented(RunAnswer, 401, 500)
    )
    def run(response: Response) -> RunAnswer:
        """Model, parameters, loss curve, samples."""
        response.headers["Cache-Control"] = "no-store"
        return RunAnswer(**glance.facts())

    @routes.post(
        "/page/attention",
        summary="Attention of a text",
        responses=documented(AttentionAnswer, *CODES),
        openapi_extra=request_body(AttentionRequest),
    )
    async def attention(
        body: Annotated[AttentionRequest, json_body(AttentionRequest)], response: Response
    ) -> AttentionAnswer:
        """Weights of one layer's heads on the first tokens of a text."""
        nonlocal waiting
        if waiting >= MOST_WAITING:
            message = "other attention maps are being computed; try again in a moment"
            raise ApiError(429, message, code="queue_full", headers={"Retry-After": "1"})
        waiting += 1
        try:
            found = await service.compute(lambda: maps.of_text(body.text, body.kind, body.layer))
        finally:
            waiting -= 1
        response.headers["Cache-Control"] = "no-store"
        return AttentionAnswer(**found)

    @routes.post(
        "/page/prompt",
        summary="A text or a conversation to the ids that are continued",
        responses=documented(PromptAnswer, *CODES),
        openapi_extra=request_body(PromptRequest),
    )
    def prompt(
        body: Annotated[PromptRequest, json_body(PromptRequest)], response: Response
    ) -> PromptAnswer:
        """With what stands before a text: `/v1/completions` goes on from such ids."""
        if (body.text is None) == (body.messages is None):
            raise ApiError(400, "expected text or messages, one of both")
        if body.text is not None:
            found = service.prompts.of_text(body.text, raw=True)
        else:
            given = [message.model_dump() for message in body.messages or []]
            found = service.prompts.of_messages(read_messages(given))
        if found.source is not None:
            raise ConfigError("an encoder-decoder's text goes on behind its source only")
        limit = service.settings.max_prompt_tokens
        if len(found.ids) > limit:
            message = f"the prompt is too long: at most {limit} tokens are taken, got "
            raise ApiError(413, f"{message}{len(found.ids)}", code="request_too_large")
        response.headers["Cache-Control"] = "no-store"
        return PromptAnswer(ids=found.ids)

    return routes
