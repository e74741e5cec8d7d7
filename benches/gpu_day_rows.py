"""The rows of `gpu_day.py`: JSON lines, of which the last one of a kind counts.

A row that is begun is noted before it is measured. So whoever comes next knows on what a process
crashed or hung, and leaves it out after the second time.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

# What tells rows apart; the rest of a row is what was found.
_NAMES = ("what", "name", "feature", "D", "T", "S", "dtype", "batch", "context")
OUT_OF_TIME = "out of time"
BEGUN = "begun, no result: its process crashed, hung or was stopped"
TRIES = 2
"""How often a row may be begun without a result."""
EXIT_OUT_OF_TIME = 3
"""Exit code of a subprocess that has left rows for a later start."""
EXIT_DEVICE_LOST = 5
"""Exit code of a subprocess after an error that no later call on the device survives."""


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
    """What need not be measured: `row in done`. note: writes a row down at once."""

    def __init__(
        self, rows: Iterable[Row] = (), note: Callable[[Row], object] = lambda row: None
    ) -> None:
        self.note = note
        self.begun: Row | None = None
        self.known: dict[tuple[Any, ...], Row] = {}
        tries: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            if row.get("skipped") == BEGUN:
                tries[identity(row)] += 1
            else:
                self.add(row)
        for key, times in tries.items():
            if times >= TRIES:
                self.known.setdefault(key, {"skipped": BEGUN})

    def __contains__(self, row: Row) -> bool:
        return identity(row) in self.known

    def failed(self, row: Row) -> bool:
        """Whether a row is done with and has no result."""
        return "skipped" in self.known.get(identity(row), {})

    def add(self, row: Row) -> None:
        """Remember a result; a row for which there was no time is none."""
        if row.get("skipped") != OUT_OF_TIME:
            self.known[identity(row)] = row

    def begin(self, row: Row) -> None:
        """Say that a row is about to be measured."""
        self.begun = row
        self.note({**row, "skipped": BEGUN})


def guarded(
    measure: Callable[[], Iterator[Row]], done: Done, after_failure: Callable[[], object]
) -> Iterator[Row]:
    """The rows of `measure()`, begun anew behind a row that raised, which says so in its place.

    after_failure: raises where nothing can be measured any more. What raises before a row is begun,
    or for a row twice, is raised here.
    """
    while True:
        done.begun = None
        try:
            for row in measure():
                done.add(row)
                yield row
            return
        # A compiler, a driver or a foreign kernel may raise anything: it costs the row.
        except Exception as problem:
            row = done.begun
            if row is None or row in done:
                raise
            lines = str(problem).strip().splitlines() or [""]
            done.add(row)
            yield {**row, "skipped": f"{type(problem).__name__}: {lines[0][:100]}"}
        after_failure()
