"""What a run knows about itself, beside its tensors."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class TrainState:
    """All that a resumed run must know beside tensors; saved in `state.json`.

    No random state: sample order and dropout are computed from (seed, step).
    """

    step: int = 0
    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int | None = None
    evals_without_gain: int = 0
    bad_steps: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] | None = None

    @classmethod
    def from_saved(cls, saved: dict[str, Any]) -> TrainState:
        """From the mapping of a checkpoint's `state.json`, whose other keys are left aside."""
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
