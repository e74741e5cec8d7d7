"""Progress of a training, for a callback or for stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

BytesCallback = Callable[[int], object]
"""Called with the bytes of text done so far; an exception that it raises stops the work."""


class Progress(NamedTuple):
    """Progress of a training; the callback gets one several times a second."""

    phase: Literal["count", "merge"]
    done: int
    """Bytes read, or merges made."""
    total: int | None
    """The bytes or merges of the whole phase; None if unknown, as for an iterator of texts."""
    seconds: float
    """Seconds since this phase began."""

    @property
    def rate(self) -> float:
        """Bytes or merges per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Estimated seconds until the end of the phase; None if unknown."""
        if self.total is None or self.done == 0:
            return None
        return max(self.total - self.done, 0) / self.rate if self.rate > 0 else None


Report = Callable[[Progress], object]


def reporter_of(progress: bool | Report) -> Report | None:
    """The function that the argument `progress` asks for: itself, or for True lines to stderr."""
    if callable(progress):
        return progress
    return _Lines() if progress else None


class Phase:
    """A phase of a training that begins now, with a report of its progress if there is one."""

    def __init__(
        self, name: Literal["count", "merge"], report: Report | None, total: int | None = None
    ) -> None:
        self.total = total
        self._name: Literal["count", "merge"] = name
        self._report = report
        self._start = time.perf_counter()

    def tell(self, done: int) -> None:
        """Report that `done` bytes or merges are done."""
        if self._report:
            seconds = time.perf_counter() - self._start
            self._report(Progress(self._name, done, self.total, seconds))

    def callback(self, before: int = 0) -> Callable[[int], None] | None:
        """`tell` for a part of the phase that begins after `before`; None without a report."""
        return (lambda done: self.tell(before + done)) if self._report else None


class _Lines:
    """Writes a line to stderr every second and at the end of a phase."""

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
