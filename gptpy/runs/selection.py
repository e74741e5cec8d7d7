"""Which checkpoint of a run is used: the last one, or the best one of a run that stopped early."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.config.files import read_toml
from gptpy.runs import checkpoint
from gptpy.runs.checkpoint import CheckpointError

Step = int | str | None
"""A checkpoint's step, "best", "last", or None: the rule of `choose`."""


@dataclass(frozen=True)
class Chosen:
    """A checkpoint folder, its step, and the reason for taking it."""

    folder: Path
    step: int
    reason: str


def choose(path: str | Path, step: Step = None) -> Chosen:
    """The checkpoint of a run directory that is used for everything but going on with it.

    By default the last one, or, where the run stopped early because its validation loss no longer
    fell, the one with the lowest loss. A checkpoint folder is itself. Raises `CheckpointError`
    naming what there is.
    """
    path = Path(path)
    if (path / "state.json").is_file():
        return Chosen(path, checkpoint.read_state(path)["step"], "as given")
    if isinstance(step, str) and step.isdecimal():
        step = int(step)
    if isinstance(step, int):
        return Chosen(checkpoint.find(path, step), step, "as given")
    if step not in (None, "best", "last"):
        raise CheckpointError(f"step: expected a number, best or last, got {step!r}")
    folder = checkpoint.find(path)
    state = checkpoint.read_state(folder)
    last, best = state["step"], state.get("best_step")
    early = step is None and stopped_early(path, state)
    if step == "best" or early:
        found = f"the best: validation loss {state['best_loss']:.4f}" if best is not None else ""
        found += f"; stopped early at {last}" if early else ""
        if best in checkpoint.steps(path):
            return Chosen(checkpoint.find(path, best), best, found)
        if step == "best":
            missing = "nothing was evaluated" if best is None else f"step {best} was, and is gone"
            raise CheckpointError(
                f"{path}: no best checkpoint ({missing}); there are {checkpoint.steps(path)}"
            )
    return Chosen(folder, last, "the last")


def stopped_early(run_dir: Path, state: dict[str, Any]) -> bool:
    """Whether the run ended at the last checkpoint, of this `state`, by its `train.patience`."""
    try:
        patience = read_toml(run_dir / "config.toml").get("train", {}).get("patience")
    except ConfigError:
        return False
    return patience is not None and state.get("evals_without_gain", 0) >= patience
