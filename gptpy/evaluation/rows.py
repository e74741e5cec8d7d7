"""How well a model predicts rows: loss, share of right tokens, share of rows generated right."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from gptpy.data.dataset import IGNORE, Batch
from gptpy.data.errors import DataError
from gptpy.data.masking import Masked
from gptpy.data.rows import Rows
from gptpy.devices.selection import autocast
from gptpy.evaluation.loss import Evaluation
from gptpy.model import cross_entropy

LOGITS_AT_ONCE = 1 << 24  # 64 MB in float32


def row_batches(data: Rows | Masked, vocab_size: int) -> Iterator[Batch]:
    """Every row once, in its own order, in batches whose logits fit into memory."""
    rows = data.data if isinstance(data, Masked) else data
    step = max(1, LOGITS_AT_ONCE // (data.block_size * vocab_size))
    for first in range(0, len(rows.rows), step):
        batch = rows.stack(rows.rows[first : first + step])
        if isinstance(data, Masked):
            batch = data.mask(batch, np.arange(first, first + batch.inputs.shape[0]))
        yield batch


@torch.inference_mode()
def evaluate_rows(
    model: Any, batches: Iterable[Batch], *, dtype: torch.dtype | None = None
) -> Evaluation:
    """Mean loss over all scored targets, and the share of those that were the most likely ones.

    Raises `DataError` where no target is scored.
    """
    begin = time.perf_counter()
    device = next(model.parameters()).device
    total, right, scored = 0.0, 0, 0
    was_training = model.training
    model.eval()
    try:
        for batch in batches:
            batch = batch.to(device)
            with autocast(device, dtype):
                logits, _ = model(batch.inputs, **batch.masks())
            total += float(cross_entropy(logits, batch.targets, "sum"))
            counted = batch.targets != IGNORE
            right += int((logits.argmax(-1) == batch.targets)[counted].sum())
            scored += int(counted.sum())
    finally:
        model.train(was_training)
    if not scored:
        raise DataError("there is nothing to evaluate: no target of the rows is scored")
    mean = total / scored
    perplexity = math.exp(mean) if mean < 700 else math.inf
    context = model.config.block_size
    return Evaluation(
        mean,
        perplexity,
        None,
        scored,
        None,
        context,
        context,
        time.perf_counter() - begin,
        accuracy=right / scored,
    )


def exact_share(model: Any, data: Rows, end: int, *, rows: int = 1000, at_once: int = 128) -> float:
    """The share of the first `rows` pairs whose whole target greedy generation reproduces."""
    device = next(model.parameters()).device
    chosen = data.rows[:rows]
    right = 0
    for first in range(0, len(chosen), at_once):
        part = chosen[first : first + at_once]
        batch = data.stack(part).to(device)
        longest = max(len(row.targets) for row in part)
        begin = torch.full((len(part), 1), end, dtype=torch.int64, device=device)
        generated = model.generate(begin, longest, temperature=0, eos_id=end, **batch.masks())
        for row, ids in zip(part, generated[:, 1:].tolist(), strict=True):
            right += ids[: len(row.targets)] == row.targets.tolist()
    return right / len(chosen)
