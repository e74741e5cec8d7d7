"""The learning-rate schedule as a pure function of the step and of the run's progress."""

from __future__ import annotations

import math

from gptpy.config.training import ScheduleConfig


def multiplier(config: ScheduleConfig, step: int, progress: float) -> float:
    """The factor on the peak learning rate at `step` (from 0) with `progress` in 0..1.

    It is the smaller of two: the warm-up, which counts steps because it protects the optimiser's
    first statistics, and the decay, which follows progress because a time budget may drive it. The
    decay is a function of the whole run's progress; the warm-up's steps are not subtracted.
    """
    warm_up = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    progress = min(max(progress, 0.0), 1.0)
    floor = config.floor
    if config.kind == "constant":
        decay = 1.0
    elif config.kind == "cosine":
        decay = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    else:
        span = config.decay_fraction if config.kind == "wsd" else 1.0
        left = min(1.0, (1 - progress) / span) if span > 0 else 1.0
        decay = floor + (1 - floor) * left
    return min(warm_up, decay)
