"""The forms of answers, for the OpenAPI page; they are written as plain objects elsewhere."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gptpy.inference.server.errors import ErrorAnswer

PROBLEMS = {
    400: "It cannot be done as asked.",
    401: "The key is missing or wrong.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "Body or prompt are too long.",
    415: "The body is no JSON.",
    422: "A field is unknown, missing, or of the wrong type.",
    429: "Too many requests are waiting; `Retry-After` says how many seconds to wait.",
    500: "The server failed.",
    503: "The server is stopping.",
    504: "The request took too long.",
}


class Answer(BaseModel):
    """An object that the server sends."""

    model_config = ConfigDict(extra="forbid")


class CachedTokens(Answer):
    """Prompt tokens whose keys and values were there already."""

    cached_tokens: int


class Usage(Answer):
    """Tokens in and out."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class Alternative(Answer):
    """A token that could have been chosen."""

    id: int
    token: str
    logprob: float


class CompletionLogprobsAnswer(Answer):
    """Lists with one item for each token."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
    alternatives: list[list[Alternative]] | None = Field(
        None, description="With `return_token_ids`."
    )


class CompletionChoice(Answer):
    """One text."""

    index: int
    text: str
    logprobs: CompletionLogprobsAnswer | None
    finish_reason: Literal["stop", "length"] | None
    token_ids: list[int] | None = Field(None, description="With `return_token_ids`.")


class Completion(Answer):
    """Texts; a stream sends the same with what is new."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class ChatToken(Answer):
    """A token and its log-probability."""

    token: str
    logprob: float
    bytes: list[int]
    id: int | None = Field(None, description="With `return_token_ids`.")


class ChatTokenChoice(ChatToken):
    """A chosen token, and the likeliest ones."""

    top_logprobs: list[ChatToken]


class ChatLogprobsAnswer(Answer):
    """One item for each token."""

    content: list[ChatTokenChoice]
    refusal: None


class AnswerMessage(Answer):
    """What the model says."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(Answer):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobsAnswer | None
    finish_reason: Literal["stop", "length"] | None
    token_ids: list[int] | None = Field(None, description="With `return_token_ids`.")


class ChatCompletion(Answer):
    """Answers; a stream sends `delta` instead of `message`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class Model(Answer):
    """A model of this server."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "gptpy"
    max_model_len: int = Field(description="The model's context, tokens.")


class Models(Answer):
    """All models: one."""

    object: Literal["list"] = "list"
    data: list[Model]


class Tokens(Answer):
    """A text in tokens."""

    ids: list[int]
    tokens: list[str]
    count: int


class Text(Answer):
    """The text of ids."""

    text: str


class Health(Answer):
    """Whether requests are taken."""

    status: Literal["ok", "stopping", "failed"]
    model: str


def documented(
    model: type[Answer], *codes: int, streams: bool = False
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a path; `codes`: its errors (default: all that a body can lead to)."""
    found: dict[int | str, dict[str, Any]] = {200: {"model": model}}
    if streams:
        # No type: some readers of the description apply it to the whole text, others to each event.
        events = {"schema": {"description": "Server-sent events, each a chunk as JSON"}}
        found[200]["content"] = {"text/event-stream": events}
        found[200]["description"] = "The answer; with `stream`, server-sent events."
    for code in codes or PROBLEMS:
        found[code] = {"model": ErrorAnswer, "description": PROBLEMS[code]}
    return found
