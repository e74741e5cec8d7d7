"""The learning-rate schedule: a function of the step, the progress and, resumed, of the state."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from gptpy.config.errors import ConfigError
from gptpy.config.training import ScheduleConfig, TrainConfig
from gptpy.train.state import TrainState

JUMP = 0.05
"""A difference of the factor on the peak rate that a user is told when a run is resumed."""


@dataclass(frozen=True)
class Anchor:
    """Where a new decay began: the progress there, and the factor that the rate had."""

    progress: float
    factor: float


def rate_factor(config: ScheduleConfig, state: TrainState, progress: float) -> float:
    """The factor on the peak learning rate of the next step."""
    anchor = None if state.anchor is None else Anchor(**state.anchor)
    return multiplier(
        config, state.step, progress, anchor=anchor, over_all=not state.decays_after_warmup
    )


def multiplier(
    config: ScheduleConfig,
    step: int,
    progress: float,
    *,
    anchor: Anchor | None = None,
    over_all: bool = False,
) -> float:
    """The factor on the peak learning rate at `step` (from 0) with `progress` in 0..1.

    The warm-up counts steps, because it protects the optimiser's first statistics. The decay spans
    the progress that is left after it, because a time budget may drive it; how much progress the
    warm-up took is read off the mean progress of a step so far. With an `anchor` the decay begins
    there instead. `over_all`: the rule of runs begun by older versions, whose decay spans the whole
    run and cuts off the end of the warm-up.
    """
    progress = min(max(progress, 0.0), 1.0)
    warm = config.warmup_steps
    warm_up = min(1.0, (step + 1) / warm) if warm else 1.0
    if anchor is not None:
        return _decay(config, progress, anchor.progress, anchor.factor)
    if over_all:
        return min(warm_up, _decay(config, progress, 0.0, 1.0))
    begin = progress * warm / step if step > warm else progress
    return min(warm_up, _decay(config, progress, begin, 1.0))


def _decay(config: ScheduleConfig, progress: float, begin: float, height: float) -> float:
    """The factor at `progress` of a decay from `height`, at `begin`, to the floor at 1."""
    if config.kind == "constant":
        return height
    floor, rest = min(config.floor, height), 1 - begin
    if config.kind == "cosine":
        done = (progress - begin) / rest if rest > 0 else 1.0
        return floor + (height - floor) * 0.5 * (1 + math.cos(math.pi * done))
    span = min(config.decay_fraction, rest) if config.kind == "wsd" else rest
    left = min(1.0, (1 - progress) / span) if span > 0 else 1.0
    return floor + (height - floor) * left


def planned(
    config: TrainConfig, block_size: int, count: int = 1000
) -> tuple[str, list[tuple[float, float]]]:
    """The schedule of a run that has not begun: a unit, and (place in it, factor) about `count`.

    The place is the step where `steps`, or `tokens` in rows of `block_size`, ends the run. Else it
    is the share of the run in percent: how many steps that is follows from the data, or from the
    machine's speed, so a warm-up, which is counted in steps, is not shown. Raises `ConfigError`
    where nothing ends the run.
    """
    if not config.has_end:
        raise ConfigError("nothing ends this run: set train.steps, tokens, epochs or seconds")
    schedule, ends = config.schedule, [config.steps] if config.steps else []
    if config.tokens:
        ends.append(math.ceil(config.tokens / (config.batch_size * block_size)))
    steps = min(ends, default=None)
    if steps is None:
        constant = dataclasses.replace(schedule, warmup_steps=0)
        places = [i / count for i in range(count + 1)]
        return "% of the run", [(100 * p, multiplier(constant, 0, p)) for p in places]
    every = max(1, steps // count)
    chosen = sorted({*range(0, steps, every), *range(min(steps, schedule.warmup_steps + 1))})
    # The last step begins with a progress below 1; what the rate ends at is shown behind it
    points = [(float(step), multiplier(schedule, step, step / steps)) for step in chosen]
    return "step", [*points, (float(steps), multiplier(schedule, steps, 1.0))]


def warmup_note(config: ScheduleConfig, steps: int) -> str | None:
    """What to tell of a warm-up that a run of `steps` never leaves; None where it does."""
    if config.warmup_steps < steps or config.warmup_steps <= 1:
        return None
    return (
        f"the warm-up of {config.warmup_steps} steps takes the whole run of {steps}: the learning "
        f"rate reaches {steps / config.warmup_steps:.2f} of its peak and does not decay; set "
        f"train.schedule.warmup_steps below {steps}"
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
