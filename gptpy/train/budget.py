"""How long a run lasts, how far it is, and how its batches are divided among processes."""

from __future__ import annotations

import math

from gptpy.config.errors import ConfigError
from gptpy.config.training import TrainConfig
from gptpy.data.dataset import Samples
from gptpy.train.state import TrainState


def total_steps(config: TrainConfig, data: Samples) -> int | None:
    """The steps until the first of the budgets `steps`, `tokens` and `epochs` is used up.

    None where only time ends the run. Raises `ConfigError` where nothing does.
    """
    if not config.has_end:
        raise ConfigError("nothing ends this run: set train.steps, tokens, epochs or seconds")
    ends = [] if config.steps is None else [config.steps]
    if config.tokens is not None:
        ends.append(math.ceil(config.tokens / (config.batch_size * data.block_size)))
    if config.epochs is not None:
        ends.append(math.ceil(config.epochs * data.n_windows / config.batch_size))
    return max(1, min(ends)) if ends else None


def progress(config: TrainConfig, data: Samples, state: TrainState, seconds: float) -> float:
    """How far the run is, 0..1, by the budget that is furthest.

    Each budget is counted in its own unit, so a resume with another batch size or another budget
    ends at the sample or token that it says. `seconds`: how long the run has trained.
    """
    parts = []
    if config.steps is not None:
        parts.append(state.step / config.steps)
    if config.tokens is not None:
        step = config.batch_size * data.block_size
        parts.append(_share(state.tokens, config.tokens, step))
    if config.epochs is not None:
        parts.append(_share(state.samples, config.epochs * data.n_windows, config.batch_size))
    if config.seconds is not None:
        parts.append(seconds / config.seconds)
    return max(parts)


def _share(done: float, budget: float, step: float) -> float:
    """The share of `budget` that is done where the run ends with a whole step of this size."""
    left = max(0, math.ceil((budget - done) / step))
    return (done / step) / (done / step + left)


def divide_batch(config: TrainConfig, processes: int) -> tuple[int, int]:
    """`(sequences of one process, sequences of one micro-batch)` in a step; `ConfigError` if the
    batch does not divide into them."""
    if config.batch_size % processes:
        raise ConfigError(
            f"train.batch_size {config.batch_size} must divide over {processes} processes"
        )
    per_process = config.batch_size // processes
    micro = min(config.micro_batch_size or per_process, per_process)
    if per_process % micro:
        raise ConfigError(
            f"each process takes {per_process} sequences a step, which "
            f"train.micro_batch_size {micro} does not divide"
        )
    return per_process, micro
