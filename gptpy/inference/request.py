"""What a caller asks of the engine and what comes back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.inference.sampling import Sampling

FinishReason = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True)
class Request:
    """A prompt and what to make of it. `ConfigError` for values that cannot be meant."""

    prompt: Sequence[int]
    """Ids; an encoder-decoder continues them for `source`."""
    max_tokens: int = 128
    """Most new tokens."""
    min_tokens: int = 0
    """Before so many new tokens neither an end token nor a stop string ends the text."""
    sampling: Sampling = field(default_factory=Sampling)
    seed: int | None = None
    """The same seed gives the same text (default: another one each time)."""
    n: int = 1
    """Texts for this prompt, which is computed once; sample i has the seed `seed + i`."""
    stop: Sequence[str] = ()
    """The text ends before the first of these, on whatever tokens it falls."""
    end_ids: frozenset[int] = frozenset()
    """Tokens that end the text; they are not part of it."""
    logprobs: int | None = None
    """Log-probabilities before sampling, of the chosen token and of so many likeliest ones."""
    beams: int = 1
    """Beam search with so many hypotheses instead of sampling; the `n` best come back."""
    length_penalty: float = 1.0
    """Beam search ranks by log-probability / length ** length_penalty."""
    constraint: Any = None
    """What the text must match, from `constraints.compile_constraint`."""
    context: Literal["crop", "error"] = "crop"
    """Where a text outgrows the model's context: go on with its last tokens, or refuse it."""
    source: Sequence[int] | None = None
    """The text that the encoder of an encoder-decoder reads, ids."""

    def __post_init__(self) -> None:
        least = {"max_tokens": 1, "min_tokens": 0, "n": 1, "beams": 1, "logprobs": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfigError(f"{name}: expected an integer >= {low}, got {value}")
        if self.min_tokens > self.max_tokens:
            raise ConfigError(
                f"min_tokens: expected at most max_tokens = {self.max_tokens}, "
                f"got {self.min_tokens}"
            )
        if isinstance(self.stop, str) or not all(self.stop):
            raise ConfigError(f"stop: expected a list of non-empty strings, got {self.stop!r}")
        if self.context not in ("crop", "error"):
            raise ConfigError(f"context: expected 'crop' or 'error', got {self.context!r}")
        if not len(self.prompt):
            raise ConfigError(
                "prompt: expected at least one id, got none: begin with the end-of-text token"
            )
        if self.beams > 1:
            if self.n > self.beams:
                raise ConfigError(f"n: expected at most beams = {self.beams}, got {self.n}")
            for name in ("stop", "constraint", "logprobs"):
                if getattr(self, name) not in ((), None, []):
                    raise ConfigError(f"{name} and beams do not go together: leave one out")

    def check_model(self, c: GPTConfig) -> None:
        """Raises `ConfigError` where the request does not fit the model."""
        for name in ("prompt", "source", "end_ids"):
            ids = getattr(self, name) or ()
            wrong = next((i for i in ids if not 0 <= i < c.vocab_size), None)
            if wrong is not None:
                raise ConfigError(
                    f"{name}: expected ids from 0 to {c.vocab_size - 1}, got {wrong}: "
                    "were they made by another tokenizer?"
                )
        if (self.source is not None) != (c.architecture == "encoder-decoder"):
            raise ConfigError(
                "source belongs to an encoder-decoder, and an encoder-decoder needs it"
            )
        if self.source is not None and not 1 <= len(self.source) <= c.block_size:
            raise ConfigError(
                f"source: expected 1 to {c.block_size} ids (block_size), got {len(self.source)}"
            )
        room = c.block_size + 1 - len(self.prompt)  # nothing is computed for the last new token
        if self.context == "error" and self.max_tokens > room:
            what = f"{room} new tokens fit" if room > 0 else "shorten the prompt"
            raise ConfigError(
                f"a prompt of {len(self.prompt)} tokens and max_tokens = {self.max_tokens} do not "
                f"fit the context of {c.block_size}: {what}, or take context = 'crop'"
            )
        self.sampling.check_ids(c.vocab_size)


@dataclass
class TokenLogprob:
    """The log-probability of a chosen token, in nats, and the likeliest tokens with theirs."""

    id: int
    logprob: float
    alternatives: list[tuple[int, float]]

    @classmethod
    def of(cls, logits: Tensor, token: int, alternatives: int) -> TokenLogprob:
        """From `logits: (V,)` before sampling."""
        logprobs = logits.float().log_softmax(-1)
        values, ids = logprobs.topk(min(alternatives, len(logprobs)))
        best = list(zip(ids.tolist(), values.tolist(), strict=True))
        return cls(token, float(logprobs[token]), best)


@dataclass
class Output:
    """One of the `n` texts of a request."""

    index: int
    ids: list[int] = field(default_factory=list)
    """All chosen tokens, with the one that ended the text."""
    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    stopped_by: int | str | None = None
    """The end token or the stop string."""
    error: str | None = None
    score: float | None = None
    """Of a beam."""


@dataclass
class Piece:
    """What one step has added to one of a request's texts."""

    handle: Handle
    index: int
    text: str
    ids: list[int]
    logprobs: list[TokenLogprob]
    finish_reason: FinishReason | None = None


class Handle:
    """A request that the engine has taken: what there is of its texts, and the way to end it."""

    def __init__(self, number: int, request: Request, seed: int) -> None:
        self.number, self.request, self.seed = number, request, seed
        self.outputs = [Output(i) for i in range(request.n)]
        self.cancelled = False
        self.cached_tokens = 0
        """Prompt tokens whose keys and values were there already."""
        self.drafted = self.accepted = 0
        """Tokens that were guessed, and those of them that were right."""
        self.submitted_at = time.monotonic()
        self.first_token_at: float | None = None
        self.finished_at: float | None = None

    @property
    def done(self) -> bool:
        """Whether all its texts have ended."""
        return all(output.finish_reason is not None for output in self.outputs)

    def cancel(self) -> None:
        """Ends the request at the next step; any thread may call it."""
        self.cancelled = True


@dataclass
class Statistics:
    """Counts since the engine began, and what is going on."""

    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of these, how many were stored already."""
    new_tokens: int = 0
    drafted: int = 0
    accepted: int = 0
    preemptions: int = 0
    running: int = 0
    waiting: int = 0
    blocks: int = 0
    blocks_held: int = 0

    @property
    def acceptance(self) -> float:
        """The share of guessed tokens that were right."""
        return self.accepted / self.drafted if self.drafted else 0.0
