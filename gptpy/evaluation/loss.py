"""How well a model predicts a text: every token is scored once.

Windows of `context` tokens advance by `stride`. Each scores the targets that no window before it
has scored: with a stride of a quarter of the context, every target but the first ones has at least
three quarters of the context before it. The first token has no context and costs log(vocab_size),
the uniform code; the sum is then the exact code length of the text under the model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from gptpy.data.dataset import Batch, number_documents
from gptpy.data.errors import DataError
from gptpy.devices.selection import autocast
from gptpy.model import IGNORE


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


@torch.inference_mode()
def evaluate(
    model: Any,
    ids: np.ndarray | Sequence[int],
    *,
    n_bytes: int | None = None,
    context: int | None = None,
    stride: int | None = None,
    end_of_text: int | None = None,
    batch_tokens: int = 8192,
    dtype: torch.dtype | None = None,
) -> Evaluation:
    """Score all of `ids` (one-dimensional integers) under `model`.

    `context` defaults to the model's `block_size`, `stride` to `context` (disjoint windows);
    `n_bytes`: length of the text that the ids encode. With `end_of_text`, no document sees another,
    as in training with `data.document_mask`. `dtype`: autocast to it. Raises `DataError` for an
    empty text or an impossible window.
    """
    begin = time.perf_counter()
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
    total = math.log(model.config.vocab_size)  # the first token
    was_training = model.training
    model.eval()
    try:
        for inputs, targets in _batches(row, context, stride, max(1, batch_tokens // context)):
            documents = None if end_of_text is None else number_documents(inputs, end_of_text)
            batch = Batch(inputs, targets, documents).to(device)
            with autocast(device, dtype):
                _, loss = model(batch.inputs, batch.targets, reduction="sum", **batch.masks())
            total += float(loss)
    finally:
        model.train(was_training)
    mean = total / len(row)
    bits = total / math.log(2) / n_bytes if n_bytes else None
    perplexity = math.exp(mean) if mean < 700 else math.inf
    seconds = time.perf_counter() - begin
    return Evaluation(mean, perplexity, bits, len(row), n_bytes, context, stride, seconds)


def _batches(
    row: np.ndarray, context: int, stride: int, rows: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and targets, (`rows` or fewer, T) each, of windows of equal length."""
    group: list[tuple[int, int, int]] = []
    for window in windows(len(row), context, stride):
        if group and (window[2] - window[0] != group[0][2] - group[0][0] or len(group) == rows):
            yield _stack(row, group)
            group = []
        group.append(window)
    if group:
        yield _stack(row, group)


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
