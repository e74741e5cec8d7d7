"""How well a model predicts a text: every token is scored once.

Windows of `context` tokens advance by `stride`. Each scores the targets that no window before it
has scored: with a stride of a quarter of the context, every target but the first ones has at least
three quarters of the context before it. The first token has no context and costs log(vocab_size),
the uniform code; the sum is then the exact code length of the text under the model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
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

T = TypeVar("T")


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


@torch.inference_mode()
def evaluate(
    model: Any,
    ids: np.ndarray | Sequence[int],
    *,
    n_bytes: int | None = None,
    context: int | None = None,
    stride: int | None = None,
    end_of_text: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    dtype: torch.dtype | None = None,
    world: World | None = None,
) -> Evaluation:
    """Score all of `ids` (one-dimensional integers) under `model`.

    `context` defaults to the model's `block_size`, `stride` to `context` (disjoint windows);
    `n_bytes`: length of the text that the ids encode. With `end_of_text`, no document sees another,
    as in training with `data.document_mask`. `dtype`: autocast to it. The processes of `world`
    share the work, all call it and get the same. Raises `DataError` for an empty text or an
    impossible window.
    """
    begin, world = time.perf_counter(), world or World()
    block_size = model.config.block_size
    context = int(block_size if context is None else context)
    stride = int(context if stride is None else stride)
    if not 1 <= stride <= context <= block_size:
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
    batches = _groups(len(row), context, stride, max(1, batch_tokens // context))
    was_training = model.training
    model.eval()
    try:
        for group, counts in shared(batches, world):
            inputs, targets = _stack(row, group)
            documents = None if end_of_text is None else number_documents(inputs, end_of_text)
            batch = Batch(inputs, targets, documents).to(device)
            with autocast(device, dtype):
                _, loss = model(batch.inputs, batch.targets, reduction="sum", **batch.masks())
            total += float(loss) if counts else 0.0
    finally:
        model.train(was_training)
    # The first token costs the uniform code
    total = world.sum(total, device) + math.log(model.config.vocab_size)
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


def _stack(row: np.ndarray, group: list[tuple[int, int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    cut = np.stack([np.asarray(row[start:end], dtype=np.int64) for start, _, end in group])
    ids = torch.from_numpy(cut)
    targets = ids[:, 1:].clone()
    for index, (start, first, _) in enumerate(group):
        targets[index, : first - start - 1] = IGNORE
    return ids[:, :-1], targets


def _check_ids(row: np.ndarray, vocab_size: int) -> None:
    low, high = int(row.min()), int(row.max())
    if low < 0 or high >= vocab_size:
        raise DataError(
            f"ids lie in {low}..{high}, the model's vocabulary in 0..{vocab_size - 1}: this text "
            "was encoded with another tokenizer"
        )
