"""How far a training is, for a callback or for stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Literal, NamedTuple


class Progress(NamedTuple):
    """How far a training is. Given to the callback several times a second."""

    phase: Literal["count", "merge"]
    done: int
    """Bytes read, or merges made."""
    total: int | None
    """None where it is not known: for an iterator of texts."""
    seconds: float
    """Since this phase began."""

    @property
    def rate(self) -> float:
        """Bytes or merges a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds to go, if the total is known."""
        if self.total is None or self.done == 0:
            return None
        return max(self.total - self.done, 0) / self.rate if self.rate > 0 else None


Report = Callable[[Progress], object]


def reporter_of(progress: bool | Report) -> Report | None:
    """What `progress` asks for: a function is called, True writes lines to stderr."""
    if callable(progress):
        return progress
    return _Lines() if progress else None


class _Lines:
    """A line to stderr every second and at the end of a phase."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.perf_counter()
        finished = progress.total is not None and progress.done >= progress.total
        if now - self._last < 1 and not finished:
            return
        self._last = now
        scale, unit = (1e6, "MB") if progress.phase == "count" else (1, "merges")
        total = "" if progress.total is None else f" of {progress.total / scale:,.0f}"
        eta = "" if progress.eta is None or finished else f", {progress.eta:.0f} s to go"
        sys.stderr.write(
            f"{progress.phase}: {progress.done / scale:,.0f}{total} {unit}, "
            f"{progress.rate / scale:,.0f} {unit}/s{eta}\n"
        )
