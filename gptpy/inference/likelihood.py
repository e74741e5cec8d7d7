"""Log-probabilities of given texts: many at once, a common beginning computed once.

Texts go through the cache in the order of their ids, in passes of bounded size; a long text takes
several. A text whose beginning another is about to compute waits for the next pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from gptpy.config.errors import ConfigError
from gptpy.inference.blocks import digests
from gptpy.inference.runner import Runner
from gptpy.model.paged import Chunk

PASS_LOGITS = 1 << 26
"""Most logits of one pass."""
PASS_TOKENS = 2048


@dataclass
class Score:
    """How likely the last ids of a text are, each after all ids before it."""

    logprobs: list[float] = field(default_factory=list)
    """In nats."""
    greedy: bool = True
    """Whether each of them was the likeliest."""


@dataclass
class _Text:
    """A text on its way through the model."""

    place: int
    ids: Sequence[int]
    """What the model reads: all but the last id."""
    targets: Sequence[int]
    """The ids that are scored."""
    digests: list[bytes]
    blocks: list[int] = field(default_factory=list)
    at: int = 0

    @property
    def first(self) -> int:
        """Position of the token that the first target follows."""
        return len(self.ids) - len(self.targets)


def score(runner: Runner, texts: Sequence[tuple[Sequence[int], int]]) -> list[Score]:
    """For each of `texts`, ids and a number n: how likely its last n ids are.

    A text longer than the model's context keeps its last `block_size + 1` ids. `ConfigError` where
    nothing comes before the first scored id, where more is scored than fits the context, and for
    ids that the model does not have. Use no engine on `runner` meanwhile.
    """
    c = runner.config
    if c.architecture == "encoder-decoder":
        raise ConfigError("an encoder-decoder scores a text for a source: take a decoder")
    scores = [Score() for _ in texts]
    queue: list[_Text] = []
    for place, (ids, count) in enumerate(texts):
        if not 1 <= count <= min(len(ids) - 1, c.block_size):
            raise ConfigError(
                f"text {place + 1}: expected 1 to {min(len(ids) - 1, c.block_size)} scored ids of "
                f"its {len(ids)} (block_size {c.block_size}), got {count}"
            )
        kept = list(ids)[-(c.block_size + 1) :]
        if not 0 <= min(kept) <= max(kept) < c.vocab_size:
            raise ConfigError(f"text {place + 1}: expected ids from 0 to {c.vocab_size - 1}")
        known = [] if c.architecture == "bigram" else digests(kept[:-1], runner.block_tokens)
        queue.append(_Text(place, kept[:-1], kept[-count:], known))
    queue.sort(key=lambda text: list(text.ids))
    tokens = min(PASS_TOKENS, max(1, PASS_LOGITS // c.vocab_size))
    try:
        while queue:
            queue = _one_pass(runner, queue, tokens, scores)
    finally:
        for text in queue:
            runner.pool.release(text.blocks)
    return scores


def _one_pass(runner: Runner, queue: list[_Text], budget: int, scores: list[Score]) -> list[_Text]:
    """Computes at most `budget` tokens; returns the texts that are not done."""
    planned: list[tuple[_Text, int]] = []
    computing: set[bytes] = set()
    for text in queue:
        if not budget or not _begin(runner, text, computing):
            continue
        count = min(budget, len(text.ids) - text.at)
        planned.append((text, count))
        budget -= count
        computing.update(text.digests[text.at // runner.block_tokens :])
    if not planned:
        raise ConfigError("the cache has no room for a text: give the engine a larger cache_tokens")
    size = runner.block_tokens
    chunks = [
        Chunk(
            text.ids[text.at : text.at + count],
            text.at,
            text.blocks[: -(-(text.at + count) // size)],
        )
        for text, count in planned
    ]
    wanted = [max(0, text.at + count - max(text.at, text.first)) for text, count in planned]
    logits = runner.logits(chunks, wanted)
    row = 0
    for (text, count), number in zip(planned, wanted, strict=True):
        begin = max(0, text.at - text.first)
        targets = torch.tensor(text.targets[begin : begin + number], dtype=torch.int64)
        _note(scores[text.place], logits[row : row + number], targets.to(logits.device))
        row += number
        text.at += count
        for n in range(text.at // size if text.blocks else 0):
            runner.pool.name(text.blocks[n], text.digests[n])
    left = []
    for text in queue:
        if text.at < len(text.ids):
            left.append(text)
        else:
            runner.pool.release(text.blocks)
            text.blocks = []
    return left


def _note(score: Score, logits: torch.Tensor, targets: torch.Tensor) -> None:
    """Adds what `logits: (n, V)` say of `targets: (n,)`."""
    if not len(targets):
        return
    logprobs = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    score.logprobs += logprobs.tolist()
    score.greedy &= bool((logits.argmax(-1) == targets).all())


def _begin(runner: Runner, text: _Text, computing: set[bytes]) -> bool:
    """Gives a text its blocks, those of a known beginning first; False where it must wait."""
    if text.blocks or runner.config.architecture == "bigram":  # which keeps nothing
        return True
    size, pool = runner.block_tokens, runner.pool
    before = text.digests[: text.first // size]  # of blocks in which nothing is scored
    found: list[int] = []
    for digest in before:
        block = pool.find(digest)
        if block is None:
            break
        pool.share(block)
        found.append(block)
    needed = -(-len(text.ids) // size) - len(found)
    if computing.intersection(before[len(found) : len(found) + 1]) or needed > pool.available:
        pool.release(found)
        return False
    text.blocks = found + pool.take(needed)
    text.at = len(found) * size
    return True
