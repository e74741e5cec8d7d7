"""How well a model predicts rows: loss, share of right tokens, share of rows generated right."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from gptpy.data.dataset import Batch
from gptpy.data.errors import DataError
from gptpy.data.rows import Masked, Row, Rows
from gptpy.devices.processes import World, is_sharded
from gptpy.devices.selection import autocast
from gptpy.evaluation.loss import Evaluation, check_stop, shared

LOGITS_OF_BATCH = 1 << 24


def row_batches(
    data: Rows | Masked,
    vocab_size: int,
    tokens: int | None = None,
    *,
    batch_tokens: int | None = None,
) -> Iterator[Batch]:
    """Every row once, in its own order, in batches of moderate size.

    `tokens`: only the first rows, which hold about so many. `batch_tokens`: the most tokens of a
    batch, padding included.
    """
    rows = data.data if isinstance(data, Masked) else data
    count = len(first_rows(rows.rows, tokens))
    step = LOGITS_OF_BATCH // (data.block_size * vocab_size)
    if batch_tokens is not None:
        step = min(step, batch_tokens // data.block_size)
    step = max(1, step)
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
    stop: Callable[[], bool] | None = None,
) -> Evaluation:
    """Mean loss over all scored targets, and the share of those that were the most likely ones.

    The processes of `world` share the batches, all call it and get the same. Raises `DataError`
    where no target is scored, `EvaluationStoppedError` where `stop()`, asked before each batch, is
    True.
    """
    begin, world = time.perf_counter(), world or World()
    device = next(model.parameters()).device
    total, right, scored = 0.0, 0, 0
    was_training = model.training
    model.eval()
    try:
        for batch, counts in shared(batches, world):
            check_stop(stop, world, device)
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
    at_once: int = 32,
    tokens: int | None = None,
    world: World | None = None,
    stop: Callable[[], bool] | None = None,
) -> float:
    """The share of the first `rows` pairs whose whole target greedy generation reproduces.

    `tokens` as for `row_batches`, `stop` as for `evaluate_rows`. A sharded model generates every
    row on every process, because how many steps a row takes is known only afterwards.
    """
    device = next(model.parameters()).device
    everyone = world or World()
    world = World() if is_sharded(model) else everyone
    chosen = first_rows(data.rows[:rows], tokens)
    right = 0
    for first, counts in shared(range(0, len(chosen), at_once), world):
        check_stop(stop, everyone, device)
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
