"""Going on from a checkpoint: what must be equal is checked, a jump of the rate is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptpy.config.training import ScheduleConfig
from gptpy.data.errors import DataError
from gptpy.runs import checkpoint
from gptpy.runs.restoring import restore as restore_tensors
from gptpy.train.average import Average
from gptpy.train.schedules import Anchor, multiplier
from gptpy.train.state import TrainState
from gptpy.train.update import Updater

# A difference of the factor on the peak rate that is told
JUMP = 0.05


def restore(
    folder: Path, data: dict[str, Any], model: Any, update: Updater, average: Average | None
) -> TrainState:
    """Load a checkpoint into all parts of a run, in place; returns the state it was saved with.

    Raises `DataError` unless the run that wrote it was trained on the same `data`, and
    `CheckpointError` for another model or optimiser.
    """
    state = TrainState.from_saved(checkpoint.read_state(folder))
    # An older version identified the data by less
    differ = [key for key, value in state.data.items() if key in data and data[key] != value]
    if differ:
        there, here = ({key: each[key] for key in differ} for each in (state.data, data))
        raise DataError(
            f"{folder} was trained on other data: it had {there}, this run has {here}; resume with "
            "the same data, block_size and seed"
        )
    state.data = data
    restore_tensors(folder, model, update.optimizers)
    if average is not None:
        if checkpoint.holds(folder, "ema"):
            checkpoint.load_tensors(folder, "ema", average.tensors)
        else:  # the average is new in this run: it begins with the weights just read
            average.restart()
    if update.scaler is not None and state.scaler:
        update.scaler.load_state_dict(state.scaler)
    return state


def rate_factor(config: ScheduleConfig, state: TrainState, progress: float) -> float:
    """The factor on the peak learning rate of the next step."""
    anchor = None if state.anchor is None else Anchor(**state.anchor)
    return multiplier(
        config, state.step, progress, anchor=anchor, over_all=not state.decays_after_warmup
    )


def fit_schedule(
    config: ScheduleConfig, state: TrainState, progress: float, peak: float
) -> str | None:
    """Adapt the schedule of a resumed run to its budget; returns what a user must know of it.

    `progress`: by the present budget, which may be another one than the run had; `peak`: the peak
    learning rate.
    """
    before, factor, state.progress = state.progress, state.lr_factor, progress
    # The time of a last evaluation counts in the seconds that were saved, not in the progress
    other_budget = before is not None and abs(progress - before) > 1e-3
    if config.on_resume == "follow":
        state.anchor = None
    if before is None or factor is None or progress >= 1:
        return None
    if config.on_resume == "decay" and other_budget:
        state.anchor = vars(Anchor(progress, factor))
        return f"the learning rate decays anew, from {peak * factor:.3g}"
    now = rate_factor(config, state, progress)
    # Without another budget only a rise is a jump: what falls may be the decay itself
    jump = abs(now - factor) if other_budget else now - factor
    if jump <= JUMP or state.step < config.warmup_steps:
        return None
    return (
        f"the learning rate goes from {peak * factor:.3g} to {peak * now:.3g}, where the schedule "
        f"of this budget is; with train.schedule.on_resume decay it decays anew from "
        f"{peak * factor:.3g}"
    )
