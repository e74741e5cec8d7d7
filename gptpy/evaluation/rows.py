"""How well a model predicts rows: loss, share of right tokens, share of rows generated right."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from gptpy.data.dataset import Batch
from gptpy.data.errors import DataError
from gptpy.data.masking import Masked
from gptpy.data.rows import Row, Rows
from gptpy.devices.processes import World
from gptpy.devices.selection import autocast
from gptpy.devices.sharding import is_sharded
from gptpy.evaluation.loss import Evaluation, shared

LOGITS_OF_BATCH = 1 << 24


def row_batches(data: Rows | Masked, vocab_size: int, tokens: int | None = None) -> Iterator[Batch]:
    """Every row once, in its own order, in batches of moderate size.

    `tokens`: only the first rows, which hold about so many.
    """
    rows = data.data if isinstance(data, Masked) else data
    count = len(first_rows(rows.rows, tokens))
    step = max(1, LOGITS_OF_BATCH // (data.block_size * vocab_size))
    for first in range(0, count, step):
        batch = rows.stack(rows.rows[first : min(first + step, count)])
        if isinstance(data, Masked):
            batch = data.mask(batch, np.arange(first, first + batch.inputs.shape[0]))
        yield batch


def first_rows(rows: Sequence[Row], tokens: int | None) -> Sequence[Row]:
    """The first rows that together have at least `tokens` input ids; None: all rows."""
    if tokens is None:
        return rows
    ends = np.cumsum([len(row.inputs) for row in rows])
    return rows[: int(np.searchsorted(ends, tokens)) + 1]


@torch.inference_mode()
def evaluate_rows(
    model: Any,
    batches: Iterable[Batch],
    *,
    dtype: torch.dtype | None = None,
    world: World | None = None,
) -> Evaluation:
    """Mean loss over all scored targets, and the share of those that were the most likely ones.

    The processes of `world` share the batches, all call it and get the same. Raises `DataError`
    where no target is scored.
    """
    begin, world = time.perf_counter(), world or World()
    device = next(model.parameters()).device
    total, right, scored = 0.0, 0, 0
    was_training = model.training
    model.eval()
    try:
        for batch, counts in shared(batches, world):
            batch = batch.to(device)
            with autocast(device, dtype):
                losses, hits = model.token_scores(batch.inputs, batch.targets, **batch.masks())
            if counts:
                total += float(losses.sum())
                right += int(hits.sum())
                scored += len(losses)
    finally:
        model.train(was_training)
    total, right, scored = (world.sum(value, device) for value in (total, right, scored))
    if not scored:
        raise DataError("there is nothing to evaluate: no target of the rows is scored")
    mean = total / scored
    perplexity = math.exp(mean) if mean < 700 else math.inf
    context = model.config.block_size
    return Evaluation(
        mean,
        perplexity,
        None,
        int(scored),
        None,
        context,
        context,
        time.perf_counter() - begin,
        accuracy=right / scored,
    )


def exact_share(
    model: Any,
    data: Rows,
    end: int,
    *,
    rows: int = 1000,
    at_once: int = 128,
    tokens: int | None = None,
    world: World | None = None,
) -> float:
    """The share of the first `rows` pairs whose whole target greedy generation reproduces.

    `tokens` as for `row_batches`. A sharded model generates every row on every process, because how
    many steps a row takes is known only afterwards.
    """
    device = next(model.parameters()).device
    world = World() if world is None or is_sharded(model) else world
    chosen = first_rows(data.rows[:rows], tokens)
    right = 0
    for first, counts in shared(range(0, len(chosen), at_once), world):
        if not counts:
            continue
        part = chosen[first : first + at_once]
        batch = data.stack(part).to(device)
        longest = max(len(row.targets) for row in part)
        begin = torch.full((len(part), 1), end, dtype=torch.int64, device=device)
        generated = model.generate(begin, longest, temperature=0, eos_id=end, **batch.masks())
        for row, ids in zip(part, generated[:, 1:].tolist(), strict=True):
            right += ids[: len(row.targets)] == row.targets.tolist()
    return world.sum(right, device) / len(chosen)
