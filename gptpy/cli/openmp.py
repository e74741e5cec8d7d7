"""How long OpenMP's threads spin before they sleep; must be set before torch loads the library."""

from __future__ import annotations

import os
import time
from pathlib import Path

# Iterations of GNU OpenMP's spin-wait loop; the default takes some milliseconds
SHORT_SPIN = "2000"


def shorten_spinning() -> bool:
    """Make waiting threads sleep early if other processes want the cores; True if they do.

    A thread that waits for the others at the end of a parallel operation spins for milliseconds by
    default. If another process runs on the core of one of those others, spinning keeps that thread
    from being moved to a free core, and every operation takes a whole time slice of the scheduler.
    An idle machine keeps the default, which is faster there. `GOMP_SPINCOUNT` and `OMP_WAIT_POLICY`
    take precedence.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        return False
    busy = other_runnable_threads() > 0.5
    if busy:
        os.environ["GOMP_SPINCOUNT"] = SHORT_SPIN
    return busy


def other_runnable_threads(samples: int = 8, pause: float = 0.01) -> float:
    """The mean number of other threads that want a core; 0 where the system does not say."""
    try:
        counts = []
        for _ in range(samples):
            running = Path("/proc/loadavg").read_text(encoding="ascii").split()[3]
            counts.append(int(running.split("/")[0]) - 1)
            time.sleep(pause)
    except (OSError, ValueError, IndexError):
        return 0.0
    return sum(counts) / len(counts)
