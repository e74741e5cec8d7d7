"""How well a model predicts a text: every token is scored once.

Windows of `context` tokens advance by `stride`. Each scores the targets that no window before it
has scored: with a stride of a quarter of the context, every target but the first ones has at least
three quarters of the context before it. The first token has no context and costs log(vocab_size),
the uniform code; the sum is then the exact code length of the text under the model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from gptpy.data.dataset import Batch, number_documents
from gptpy.data.errors import DataError
from gptpy.devices.processes import World
from gptpy.devices.selection import autocast
from gptpy.model import IGNORE

BATCH_TOKENS = 8192
"""Tokens in the model at once. Its logits need no bound: they are computed in chunks."""
CPU_BATCH_FLOPS = 2e11
"""On a CPU, operations of a batch: about a second, so that a signal is soon answered."""

T = TypeVar("T")


class EvaluationStoppedError(Exception):
    """An evaluation ended without a score, because its `stop` asked for it."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one text or of rows; `loss` is in nats per token."""

    loss: float
    perplexity: float
    bits_per_byte: float | None
    tokens: int
    bytes: int | None
    context: int
    stride: int
    seconds: float
    accuracy: float | None = None
    """Share of the scored tokens that were the most likely ones; for rows only."""
    exact: float | None = None
    """Share of the rows that greedy generation reproduces to the last token; for pairs only."""

    def metrics(self) -> dict[str, Any]:
        """As a row of `metrics.jsonl`, without the fields that are None."""
        row = {"val_loss": self.loss, **asdict(self)}
        del row["loss"]
        return {key: value for key, value in row.items() if value is not None}


def windows(n: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """`(start, first, end)`: a window of the ids `start..end` that scores the ids `first..end`.

    Together the windows score the ids 1..n-1, each once.
    """
    first = 1
    while first < n:
        end = min(n, context + 1 if first == 1 else first + stride)
        yield max(0, end - context - 1), first, end
        first = end


def shared(items: Iterable[T], world: World) -> Iterator[tuple[T, bool]]:
    """This process's part of `items`, each with whether it counts.

    Every process gets equally many, because a sharded model computes on all at once: those that
    lack one in the last round get the last item, which does not count for them.
    """
    count = 0
    for count, item in enumerate(items, 1):
        if (count - 1) % world.size == world.rank:
            yield item, True
    if 0 < count % world.size <= world.rank:
        yield item, False  # type: ignore[possibly-undefined]


def tokens_of_batch(model: Any) -> int:
    """How many tokens to take through `model` at once."""
    weights = list(model.parameters())
    if weights[0].device.type != "cpu":
        return BATCH_TOKENS
    flops = 2 * sum(weight.numel() for weight in weights)  # of one token, about
    return max(1, min(BATCH_TOKENS, int(CPU_BATCH_FLOPS / flops)))


def check_stop(stop: Callable[[], bool] | None, world: World, device: torch.device) -> None:
    """`EvaluationStoppedError` on every process if `stop()` on any; all of them call it."""
    if stop is not None and world.any(stop(), device):
        raise EvaluationStoppedError


@torch.inference_mode()
def evaluate(
    model: Any,
    ids: np.ndarray | Sequence[int],
    *,
    n_bytes: int | None = None,
    context: int | None = None,
    stride: int | None = None,
    end_of_text: int | None = None,
    batch_tokens: int | None = None,
    dtype: torch.dtype | None = None,
    world: World | None = None,
    beginning: Sequence[int] = (),
    stop: Callable[[], bool] | None = None,
) -> Evaluation:
    """Score all of `ids` (one-dimensional integers) under `model`.

    `context` defaults to the model's `block_size`, `stride` to `context` (disjoint windows);
    `n_bytes`: length of the text that the ids encode. With `end_of_text`, no document sees another,
    as in training with `data.document_mask`. `dtype`: autocast to it. The processes of `world`
    share the work, all call it and get the same. `beginning`: ids that stand before every window,
    unscored, within the context; the first token is then predicted from them. `stop` is asked
    before each batch. Raises `DataError` for an empty text or an impossible window,
    `EvaluationStoppedError` where `stop` returns True.
    """
    begin, world = time.perf_counter(), world or World()
    block_size = model.config.block_size
    context = int(block_size if context is None else context)
    longest = context - len(beginning)  # tokens of the text in a window
    stride = int(longest if stride is None else stride)
    if beginning and stride > longest:
        stride = max(1, longest)
    if longest < 1 or not 1 <= stride <= context <= block_size:
        raise DataError(
            f"need 1 <= stride <= context <= block_size, got stride {stride}, context {context}, "
            f"block_size {block_size}"
        )
    row = np.asarray(ids)
    if row.ndim != 1 or len(row) == 0:
        raise DataError(f"there is nothing to evaluate: ids of shape {row.shape}")
    _check_ids(row, model.config.vocab_size)
    device = next(model.parameters()).device
    total = 0.0
    batch_tokens = tokens_of_batch(model) if batch_tokens is None else batch_tokens
    batches = _groups(len(row), longest, stride, max(1, batch_tokens // context))
    was_training = model.training
    model.eval()
    try:
        for group, counts in shared(batches, world):
            check_stop(stop, world, device)
            inputs, targets = _stack(row, group, beginning)
            documents = None if end_of_text is None else number_documents(inputs, end_of_text)
            batch = Batch(inputs, targets, documents).to(device)
            with autocast(device, dtype):
                _, loss = model(batch.inputs, batch.targets, reduction="sum", **batch.masks())
            total += float(loss) if counts else 0.0
    finally:
        model.train(was_training)
    total = world.sum(total, device)
    if not beginning:  # the first token costs the uniform code
        total += math.log(model.config.vocab_size)
    mean = total / len(row)
    bits = total / math.log(2) / n_bytes if n_bytes else None
    perplexity = math.exp(mean) if mean < 700 else math.inf
    seconds = time.perf_counter() - begin
    return Evaluation(mean, perplexity, bits, len(row), n_bytes, context, stride, seconds)


def _groups(n: int, context: int, stride: int, rows: int) -> list[list[tuple[int, int, int]]]:
    """The windows of `n` ids in batches of at most `rows`, those of one batch equally long."""
    groups: list[list[tuple[int, int, int]]] = []
    for window in windows(n, context, stride):
        last = groups[-1] if groups else []
        fits = last and len(last) < rows and window[2] - window[0] == last[0][2] - last[0][0]
        if fits:
            last.append(window)
        else:
            groups.append([window])
    return groups


def _stack(
    row: np.ndarray, group: list[tuple[int, int, int]], beginning: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets `(n, T)` of the windows of a group, each after the ids of `beginning`."""
    before = np.asarray(beginning, dtype=np.int64)
    cut = [np.asarray(row[start:end], dtype=np.int64) for start, _, end in group]
    ids = torch.from_numpy(np.stack([np.concatenate((before, part)) for part in cut]))
    targets = ids[:, 1:].clone()
    for index, (start, first, _) in enumerate(group):
        unscored = len(before) + first - start - 1
        if first == 1 and len(before):
            unscored -= 1  # the first token of the text has tokens before it, too
        targets[index, :unscored] = IGNORE
    return ids[:, :-1], targets


def _check_ids(row: np.ndarray, vocab_size: int) -> None:
    low, high = int(row.min()), int(row.max())
    if low < 0 or high >= vocab_size:
        raise DataError(
            f"ids lie in {low}..{high}, the model's vocabulary in 0..{vocab_size - 1}: this text "
            "was encoded with another tokenizer"
        )
