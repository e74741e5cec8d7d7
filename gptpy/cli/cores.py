"""Being a good neighbour on a busy machine; decided before torch loads its thread pool."""

from __future__ import annotations

import os
import time
from pathlib import Path

# How often a waiting thread of GNU OpenMP looks again before it sleeps
SHORT_WAIT = "2000"


def share_cores() -> bool:
    """Let waiting threads sleep soon where other processes want the cores; True if they do.

    By default a thread that waits for its siblings keeps its core busy for milliseconds. Where that
    core was needed by a sibling that another process has displaced, every parallel operation costs
    a whole turn of the scheduler: measured 10 times slower steps beside two compilers. An idle
    machine keeps the default. `GOMP_SPINCOUNT` and `OMP_WAIT_POLICY` of the user win.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        return False
    busy = others_running() > 0.5
    if busy:
        os.environ["GOMP_SPINCOUNT"] = SHORT_WAIT
    return busy


def others_running(samples: int = 8, pause: float = 0.01) -> float:
    """How many other threads want a core right now, on average; 0 where the system does not say."""
    try:
        counts = []
        for _ in range(samples):
            running = Path("/proc/loadavg").read_text(encoding="ascii").split()[3]
            counts.append(int(running.split("/")[0]) - 1)
            time.sleep(pause)
    except (OSError, ValueError, IndexError):
        return 0.0
    return sum(counts) / len(counts)
