"""The bodies of requests: OpenAI's fields, and the engine's further ones."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from gptpy.inference.server.body import Body
from gptpy.inference.server.errors import TOGETHER, shown
from gptpy.tokenizer.bpe import bpe_rs

SEED = 2**63 - 1
MOST_ID = 2**31 - 1
NOTHING = (None,)

Id = Annotated[int, Field(ge=0, le=MOST_ID)]
Stop = Annotated[str, Field(min_length=1, max_length=256)]


def _one_message(expected: str) -> Any:
    """Says in one sentence what a field with several forms expects."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValueError:
            raise PydanticCustomError("form", "expected {what}", {"what": expected}) from None

    return WrapValidator(check)


def _is_id(text: str) -> bool:
    return re.fullmatch(r"0|[1-9][0-9]{0,9}", text) is not None and int(text) <= MOST_ID


class StreamOptions(Body):
    """What a stream tells beside the text."""

    unsupported: ClassVar = {"include_obfuscation": (None, False)}

    include_usage: bool | None = Field(None, description="A last chunk counts the tokens.")


class JsonSchema(Body):
    """A schema that the text must match."""

    name: str | None = Field(None, max_length=64, description="Names it for the reader.")
    description: str | None = Field(None, description="Describes it for the reader.")
    schema_: dict[str, Any] | None = Field(None, alias="schema", description="The JSON schema.")
    strict: bool | None = Field(None, description="Here a schema always holds strictly.")


class AsText(Body):
    """Any text."""

    type: Literal["text"]


class AsJson(Body):
    """Any JSON object."""

    type: Literal["json_object"]


class AsSchema(Body):
    """JSON that matches a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[AsText | AsJson | AsSchema, Field(discriminator="type")]


class Generation(Body):
    """What completions and answers have in common."""

    unsupported: ClassVar[dict[str, tuple[Any, ...]]] = {
        "metadata": (None, {}),
        "prediction": NOTHING,
        "prompt_cache_key": NOTHING,
        "prompt_cache_retention": NOTHING,
        "safety_identifier": NOTHING,
        "service_tier": (None, "auto", "default"),
        "store": (None, False),
    }

    model: str | None = Field(None, description="The model's name, of `/v1/models`.")
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Most new tokens (default: 16 for completions; for answers what the context "
        "has room for).",
    )
    min_tokens: int | None = Field(
        None, ge=0, description="So many tokens come before the text may end."
    )
    temperature: float | None = Field(
        None, ge=0, le=10, description="Divides the logits; 0 takes the likeliest (default: 1)."
    )
    top_k: int | None = Field(
        None, ge=1, le=MOST_ID, description="Chooses among the k likeliest tokens."
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="Chooses among the fewest with this probability together."
    )
    min_p: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Chooses among those this fraction as likely as the likeliest.",
    )
    typical_p: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Chooses among the fewest with this probability whose surprise is nearest to "
        "the entropy.",
    )
    repetition_penalty: float | None = Field(
        None, gt=0, le=100, description="Makes tokens of prompt and text less likely (default: 1)."
    )
    presence_penalty: float | None = Field(
        None, ge=-2, le=2, description="Taken from the logits of tokens that the text has."
    )
    frequency_penalty: float | None = Field(
        None, ge=-2, le=2, description="The same for each time that the text has them."
    )
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(
        None,
        max_length=1024,
        description="Added to the logits of these ids.",
        json_schema_extra={"propertyNames": {"pattern": "^(0|[1-9][0-9]{0,8})$"}},
    )
    seed: int | None = Field(
        None, ge=-SEED, le=SEED, description="The same seed gives the same text."
    )
    n: int | None = Field(None, ge=1, le=128, description="Texts for each prompt (default: 1).")
    stop: (
        Annotated[
            Stop | Annotated[list[Stop], Field(max_length=16)],
            _one_message("a string or at most 16 strings of 1 to 256 characters"),
        ]
        | None
    ) = Field(None, description="The text ends before the first of these.")
    stream: bool | None = Field(None, description="Sends the text as it comes (SSE).")
    stream_options: StreamOptions | None = Field(None, description="Only with `stream`.")
    response_format: ResponseFormat | None = Field(None, description="What the text must match.")
    return_token_ids: bool | None = Field(
        None, description="Also sends the ids of tokens and of alternatives."
    )
    context: Literal["crop", "error"] | None = Field(
        None,
        description="Where prompt and text outgrow the model's context: `crop` goes on with the "
        "last tokens, `error` refuses (default: refuses longer prompts, lets texts go on).",
    )
    user: str | None = Field(None, description="Accepted, not kept, without effect.")

    @model_validator(mode="after")
    def check_together(self) -> Generation:
        """Fields that only make sense with others."""
        if self.stream_options is not None and not self.stream:
            raise _refusal("stream_options: only with stream = true")
        for key in self.logit_bias or {}:
            if not _is_id(key):
                raise _refusal(f"logit_bias: expected ids as keys, got {shown(key)}")
        return self


def _refusal(message: str) -> PydanticCustomError:
    return PydanticCustomError(TOGETHER, "{message}", {"message": message})


class CompletionRequest(Generation):
    """A prompt to continue."""

    unsupported: ClassVar[dict[str, tuple[Any, ...]]] = {
        **Generation.unsupported,
        "best_of": (None, 1),
        "echo": (None, False),
        "suffix": (None, ""),
    }

    prompt: Annotated[
        str
        | Annotated[list[str], Field(min_length=1, max_length=128)]
        | Annotated[list[Id], Field(min_length=1)]
        | Annotated[
            list[Annotated[list[Id], Field(min_length=1)]], Field(min_length=1, max_length=128)
        ],
        _one_message(
            "a string, a list of ids, or a list of 1 to 128 strings or of 1 to 128 lists of ids"
        ),
    ] = Field(description="A text, texts, ids, or lists of ids. Special tokens in texts are text.")
    logprobs: int | None = Field(
        None, ge=0, le=20, description="Log-probabilities of so many alternatives of each token."
    )

    @property
    def alternatives(self) -> int | None:
        """How many of each token are told, None for no log-probabilities."""
        return self.logprobs


class TextPart(Body):
    """A text as a part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """One message of a conversation."""

    unsupported: ClassVar = {
        "annotations": (None, []),
        "audio": NOTHING,
        "function_call": NOTHING,
        "name": NOTHING,
        "reasoning": NOTHING,
        "reasoning_content": NOTHING,
        "refusal": NOTHING,
        "tool_call_id": NOTHING,
        "tool_calls": (None, []),
    }

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        str | Annotated[list[TextPart], Field(max_length=64)],
        _one_message("a string or at most 64 parts of type text"),
    ]


class ChatRequest(Generation):
    """A conversation to answer."""

    unsupported: ClassVar[dict[str, tuple[Any, ...]]] = {
        **Generation.unsupported,
        "audio": NOTHING,
        "function_call": (None, "none", "auto"),
        "functions": (None, []),
        "modalities": (None, ["text"]),
        "parallel_tool_calls": (None, False, True),
        "reasoning_effort": NOTHING,
        "tool_choice": (None, "none", "auto"),
        "tools": (None, []),
        "verbosity": NOTHING,
        "web_search_options": NOTHING,
    }

    messages: list[ChatMessage] = Field(
        min_length=1, max_length=1024, description="The conversation so far."
    )
    max_completion_tokens: int | None = Field(None, ge=1, description="The same as `max_tokens`.")
    logprobs: bool | None = Field(None, description="Log-probabilities of each token.")
    top_logprobs: int | None = Field(
        None, ge=0, le=20, description="Of so many alternatives; only with `logprobs`."
    )

    @model_validator(mode="after")
    def check_answer(self) -> ChatRequest:
        """Fields that only make sense with others."""
        if self.top_logprobs is not None and not self.logprobs:
            raise _refusal("top_logprobs: only with logprobs = true")
        if None not in (self.max_tokens, self.max_completion_tokens):
            raise _refusal("max_tokens and max_completion_tokens are the same: give one")
        return self

    @property
    def alternatives(self) -> int | None:
        """How many of each token are told, None for no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None


OWN = "run"
"""The name of the run's tokenizer."""
ENCODINGS: tuple[str, ...] = (OWN, *bpe_rs.list_encoding_names())
Encoding = Annotated[
    str | None,
    Field(
        description="`run`, or a published vocabulary (default: `run`).",
        json_schema_extra={"enum": [*ENCODINGS, None]},
    ),
]


class TokenizeRequest(Body):
    """A text to cut into tokens."""

    text: str = Field(description="Special tokens in it are plain text.")
    encoding: Encoding = None


class DetokenizeRequest(Body):
    """Ids to join to a text."""

    ids: list[Id] = Field(description="Bytes that are no UTF-8 become U+FFFD.")
    encoding: Encoding = None


Bodies: list[type[Body]] = [CompletionRequest, ChatRequest, TokenizeRequest, DetokenizeRequest]
