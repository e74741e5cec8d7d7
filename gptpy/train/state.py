"""The state of a run beside its tensors, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


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
