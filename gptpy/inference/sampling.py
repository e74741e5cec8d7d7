"""How a token is chosen: the settings, and the choice for many rows of logits at once.

A token is the one with the largest `p / e`, where the `e` are exponential numbers: the Gumbel-max
trick, a draw from `p`. The numbers depend on the seed, the sample and the position in the text
alone, so that a text does not depend on what else is computed, on preemption, or on guesses.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gptpy.config.errors import ConfigError

GREEDY_BELOW = 1e-6
MOST_LIKELY = 1024
"""So many tokens are sorted first; all only where these do not reach `top_p`."""


@dataclass(frozen=True)
class Sampling:
    """Which tokens are drawn with which probability. `ConfigError` for settings out of range.

    In order: penalties, `logit_bias` and bans change the logits; `temperature` divides them; then
    `top_k`, `typical_p`, `top_p` and `min_p` drop tokens.
    """

    temperature: float = 1.0
    """0 takes the largest logit."""
    top_k: int | None = None
    """Keeps the k most likely tokens."""
    typical_p: float | None = None
    """Keeps the fewest tokens with this probability together whose surprise is nearest to the
    entropy (Meister et al. 2022)."""
    top_p: float | None = None
    """Keeps the fewest tokens that together have this probability (Holtzman et al. 2019)."""
    min_p: float | None = None
    """Keeps tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024)."""
    repetition_penalty: float = 1.0
    """Logits of tokens in prompt and text are divided by it where positive, else multiplied
    (Keskar et al. 2019, llama.cpp)."""
    repetition_window: int | None = None
    """How many of the last tokens `repetition_penalty` looks at (default: all)."""
    presence_penalty: float = 0.0
    """Subtracted once from the logits of tokens in the new text (OpenAI)."""
    frequency_penalty: float = 0.0
    """Subtracted for each time that a token stands in the new text (OpenAI)."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these ids."""
    banned: frozenset[int] = frozenset()
    """Ids that are never chosen."""
    allowed: frozenset[int] | None = None
    """The only ids that may be chosen."""

    def __post_init__(self) -> None:
        _check_range("temperature", self.temperature, 0, math.inf, "0 is greedy")
        for name in ("typical_p", "top_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ConfigError(f"{name}: expected a number in (0, 1], got {value}")
        if self.min_p is not None:
            _check_range("min_p", self.min_p, 0, 1)
        for name in ("top_k", "repetition_window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}: expected an integer >= 1, or None for all, got {value}")
        if not 0 < self.repetition_penalty < math.inf:
            raise ConfigError(
                f"repetition_penalty: expected a number > 0, got {self.repetition_penalty}"
            )
        for name in ("presence_penalty", "frequency_penalty"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"{name}: expected a finite number, got {getattr(self, name)}")
        if any(math.isnan(bias) or bias == math.inf for bias in self.logit_bias.values()):
            raise ConfigError("logit_bias: expected numbers below infinity")
        if self.allowed is not None and not self.allowed - self.banned:
            raise ConfigError("allowed and banned leave no token to choose")

    def check_ids(self, vocab_size: int) -> None:
        """Raises `ConfigError` for an id that the model does not have, or if no id is left."""
        for name in ("logit_bias", "banned", "allowed"):
            wrong = sorted(i for i in getattr(self, name) or () if not 0 <= i < vocab_size)
            if wrong:
                raise ConfigError(
                    f"{name}: expected ids from 0 to {vocab_size - 1}, got {wrong[0]}"
                )
        if len(self.banned) == vocab_size:
            raise ConfigError("banned: every id of the vocabulary is banned")

    @property
    def changes_logits(self) -> bool:
        """Whether `adjusted` does anything."""
        return bool(
            self.repetition_penalty != 1
            or self.presence_penalty
            or self.frequency_penalty
            or self.logit_bias
            or self.banned
            or self.allowed is not None
        )

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken: so low a temperature would divide to infinity."""
        return self.temperature < GREEDY_BELOW

    @property
    def filters(self) -> tuple[float | None, ...]:
        """The settings that `choose` reads: rows that agree in them are computed together."""
        if self.greedy:
            return (0.0,)
        return self.temperature, self.top_k, self.typical_p, self.top_p, self.min_p


def _check_range(name: str, value: float, low: float, high: float, note: str = "") -> None:
    if not (low <= value <= high and math.isfinite(value)):
        limits = f">= {low}" if high == math.inf else f"in [{low}, {high}]"
        raise ConfigError(f"{name}: expected a number {limits}{note and f' ({note})'}, got {value}")


def adjusted(
    logits: Tensor,
    settings: Sampling,
    prompt: Sequence[int],
    new: Sequence[int],
    banned: Sequence[int] = (),
) -> Tensor:
    """A copy of `logits: (V,)` with penalties, bias and bans; `banned`: further ids."""
    logits = logits.clone()
    if settings.repetition_penalty != 1:
        window = settings.repetition_window
        text = [*prompt, *new] if window is None else [*prompt[-window:], *new][-window:]
        seen = torch.tensor(sorted(set(text)), dtype=torch.int64, device=logits.device)
        values = logits[seen]
        penalty = settings.repetition_penalty
        logits[seen] = torch.where(values > 0, values / penalty, values * penalty)
    if new and (settings.presence_penalty or settings.frequency_penalty):
        ids, counts = torch.tensor(new, device=logits.device).unique(return_counts=True)
        logits[ids] -= settings.presence_penalty + settings.frequency_penalty * counts
    if settings.logit_bias:
        ids = torch.tensor(list(settings.logit_bias), device=logits.device)
        logits[ids] += torch.tensor(
            list(settings.logit_bias.values()), dtype=logits.dtype, device=logits.device
        )
    if settings.allowed is not None:
        allowed = torch.tensor(sorted(settings.allowed), device=logits.device)
        kept = logits[allowed]
        logits.fill_(-math.inf)
        logits[allowed] = kept
    if settings.banned or banned:
        ids = torch.tensor([*settings.banned, *banned], device=logits.device)
        logits[ids] = -math.inf
    return logits


def probabilities(logits: Tensor, settings: Sampling) -> Tensor:
    """What tokens are drawn with, not normalised, `(B, V)`, for fp32 `logits: (B, V)`.

    The temperature is not 0. At least one token is left.
    """
    logits = logits / settings.temperature
    if settings.top_k is not None and settings.top_k < logits.shape[-1]:
        smallest = logits.topk(settings.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -math.inf)
    p = logits.softmax(-1)
    if settings.typical_p is not None and settings.typical_p < 1:
        surprise = -p.clamp_min(torch.finfo(p.dtype).tiny).log()
        entropy = (p * surprise).sum(-1, keepdim=True)
        distance = (surprise - entropy).abs().masked_fill(p == 0, math.inf)
        order = distance.sort(dim=-1, stable=True).indices
        p = _first_with(p, order, settings.typical_p)
        p = p / p.sum(-1, keepdim=True)
    if settings.top_p is not None and settings.top_p < 1:
        few = min(MOST_LIKELY, p.shape[-1])
        values, order = p.topk(few, dim=-1)
        if few < p.shape[-1] and bool((values.sum(-1) <= settings.top_p).any()):
            order = p.sort(dim=-1, descending=True).indices
        p = _first_with(p, order, settings.top_p)
    if settings.min_p:
        p = p.masked_fill(p < settings.min_p * p.amax(-1, keepdim=True), 0.0)
    return p


def _first_with(p: Tensor, order: Tensor, mass: float) -> Tensor:
    """`p: (B, V)` with zeros behind the first tokens in `order` that together have `mass`."""
    ordered = p.gather(-1, order)
    before = ordered.cumsum(-1) - ordered
    kept = torch.zeros_like(p).scatter(-1, order, ordered.masked_fill(before >= mass, 0.0))
    return kept


def noise(key: bytes, position: int, vocab_size: int) -> np.ndarray:
    """Exponential numbers `(V,)` for one position of the text whose draws belong to `key`."""
    digest = hashlib.blake2b(key + position.to_bytes(8, "little"), digest_size=16).digest()
    bits = np.random.Philox(key=np.frombuffer(digest, dtype=np.uint64))
    draws = np.random.Generator(bits).standard_exponential(vocab_size, dtype=np.float32)
    return np.maximum(draws, np.finfo(np.float32).tiny, out=draws)  # never 0: `p / e` is a number


def noise_key(seed: int, sample: int) -> bytes:
    """The key of a request's sample; sample i of a seed is sample 0 of `seed + i`."""
    return str(seed + sample).encode()


def choose(
    logits: Tensor, settings: Sequence[Sampling], keys: Sequence[tuple[bytes, int]]
) -> list[int]:
    """One id for each row of fp32 `logits: (B, V)`; `keys[i]`: key and position for its noise."""
    groups: dict[tuple[float | None, ...], list[int]] = {}
    for row, one in enumerate(settings):
        groups.setdefault(one.filters, []).append(row)
    chosen = [0] * len(settings)
    for rows in groups.values():
        part = logits if len(groups) == 1 else logits[rows]
        if not settings[rows[0]].greedy:
            draws = np.stack([noise(*keys[row], logits.shape[-1]) for row in rows])
            part = probabilities(part, settings[rows[0]]) / torch.from_numpy(draws).to(part.device)
        for row, token in zip(rows, _largest(part), strict=True):
            chosen[row] = token
    return chosen


def usable_rows(logits: Tensor) -> list[bool]:
    """Whether the largest number of each row of `logits: (B, V)` is finite, and none is NaN."""
    if logits.device.type == "cpu":
        return np.isfinite(logits.numpy().max(-1)).tolist()
    return logits.amax(-1).isfinite().tolist()


def _largest(x: Tensor) -> list[int]:
    """Where the largest number of each row of `x: (B, V)` stands, the first of equal ones."""
    if x.device.type == "cpu":  # numpy compares with vectors, torch one number at a time
        return x.numpy().argmax(-1).tolist()
    return x.argmax(-1).tolist()
