"""The state of a run beside its tensors, how far it is by its budgets, and its result."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.config.training import TrainConfig
from gptpy.data.dataset import Samples
from gptpy.devices.selection import total_memory
from gptpy.model.size import gigabytes

BYTES_OF_TOKEN = 3 * 8
"""Of a batch: an id as read, as input and as target, int64 each."""
EVALUATIONS = 20
"""How often a run is evaluated whose configuration does not say."""


@dataclass
class TrainState:
    """All that a resumed run needs beside tensors; saved in `state.json`.

    It holds no random state, because sample order and dropout are computed from (seed, step).
    """

    step: int = 0
    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int | None = None
    evals_without_gain: int = 0
    bad_steps: int = 0
    """Steps in a row whose update was skipped."""
    unscored: int = 0
    """Steps skipped because nothing of their batch was scored."""
    progress: float | None = None
    lr_factor: float | None = None
    """Progress and factor on the peak learning rate after the last step, by its settings."""
    anchor: dict[str, float] | None = None
    """Where a new decay began: the fields of `schedules.Anchor`."""
    decays_after_warmup: bool = False
    """False in runs begun by versions whose decay spanned the warm-up, too."""
    data: dict[str, Any] = field(default_factory=dict)
    """What identifies the training data: a resume with other data is refused."""
    scaler: dict[str, Any] | None = None
    evaluation_due: bool = False
    """A signal stopped the evaluation at this step: a resumed run begins with it."""

    @classmethod
    def from_saved(cls, saved: dict[str, Any]) -> TrainState:
        """From the mapping in a checkpoint's `state.json`; other keys of it are ignored."""
        names = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in saved.items() if key in names})


@dataclass(frozen=True)
class TrainResult:
    """What `Trainer.fit` did. `stopped` says why it ended: "done", "early" or "interrupted"."""

    step: int
    tokens: int
    seconds: float
    tokens_per_second: float
    loss: float
    stopped: str
    model_step: int
    """The step whose weights the model has: after early stopping the best one's."""
    best_step: int | None = None
    best_loss: float | None = None


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


def evaluation_due(config: TrainConfig, data: Samples, state: TrainState, before: float) -> bool:
    """Whether to evaluate after this step; `before`: the progress before it."""
    if config.eval_every is not None:
        return state.step % config.eval_every == 0
    if config.eval_epochs is not None:
        every = config.eval_epochs * data.n_windows
        return int(state.samples / every) > int((state.samples - config.batch_size) / every)
    now = state.progress or 0.0
    return int(now * EVALUATIONS + 1e-9) > int(before * EVALUATIONS + 1e-9)


def divide_batch(config: TrainConfig, block_size: int, processes: int) -> tuple[int, int]:
    """`(sequences of one process, sequences of one micro-batch)` in a step.

    Raises `ConfigError` if the batch does not divide into them, or cannot fit the memory.
    """
    if config.batch_size % processes:
        raise ConfigError(
            f"train.batch_size {config.batch_size} must divide over {processes} processes"
        )
    per_process = config.batch_size // processes
    ids = per_process * block_size * BYTES_OF_TOKEN
    memory = total_memory(torch.device("cpu"))
    if memory is not None and ids > memory:
        raise ConfigError(
            f"train.batch_size {config.batch_size}: the ids of a step need {gigabytes(ids)} of "
            f"memory, there are {gigabytes(memory)}: take a smaller batch"
        )
    micro = min(config.micro_batch_size or per_process, per_process)
    if per_process % micro:
        raise ConfigError(
            f"each process takes {per_process} sequences a step, which "
            f"train.micro_batch_size {micro} does not divide"
        )
    return per_process, micro
