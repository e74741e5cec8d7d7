"""Learning-rate schedules as one pure function of the step and of the run's progress."""

from __future__ import annotations

import math

from gptpy.config.training import ScheduleConfig


def multiplier(config: ScheduleConfig, step: int, progress: float) -> float:
    """The factor on the peak learning rate at `step` (from 0) with `progress` in 0..1.

    The warm-up goes by steps, since it protects the optimiser's young statistics; what follows goes
    by progress, which a time budget may drive. The warm-up's end is not subtracted from progress:
    it is short, and the factor is the smaller of the two.
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    progress = min(max(progress, 0.0), 1.0)
    floor = config.floor
    if config.kind == "constant":
        course = 1.0
    elif config.kind == "cosine":
        course = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    else:
        span = config.decay_fraction if config.kind == "wsd" else 1.0
        left = min(1.0, (1 - progress) / span) if span > 0 else 1.0
        course = floor + (1 - floor) * left
    return min(warm, course)


def curve(config: ScheduleConfig, steps: int) -> list[float]:
    """The factor at every step of a run of `steps` steps, for plots."""
    return [multiplier(config, step, step / steps) for step in range(steps)]
