"""The rows of `gpu_day.py`: JSON lines, of which the last one of a kind counts."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]

# What tells rows apart; the rest of a row is what was found.
_NAMES = ("what", "name", "feature", "D", "T", "S", "dtype", "batch", "context")
OUT_OF_TIME = "out of time"
EXIT_OUT_OF_TIME = 3
"""Exit code of a subprocess that has left rows for a later start."""


def identity(row: Row) -> tuple[Any, ...]:
    """Equal for two measurements of the same thing."""
    return tuple(row.get(name) for name in _NAMES)


def read(path: Path) -> list[Row]:
    """Whole rows; a line that a killed process has cut is none."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def latest(rows: Iterable[Row]) -> list[Row]:
    """One row of each identity, the last, where the first stood."""
    return list({identity(row): row for row in rows}.values())


class Done:
    """What earlier runs have measured: `Row(...) in done`."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.known = {identity(row) for row in rows if row.get("skipped") != OUT_OF_TIME}

    def __contains__(self, row: Row) -> bool:
        return identity(row) in self.known
