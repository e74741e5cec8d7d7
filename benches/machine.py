"""What the records say of the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """Maker and model where the system tells them, the widest vectors, the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    values = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    name = values.get("model name", platform.machine())
    flags = values.get("flags", "").split()
    best = next((f"{flag}, " for flag in ("avx512bw", "avx2") if flag in flags), "")
    return f"{name}, {best}{os.cpu_count()} cores"
