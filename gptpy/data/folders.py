"""The files of a folder that are sources, and those that are left out, with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gptpy.data.errors import DataError
from gptpy.data.kinds import HEAD_BYTES, other_encoding, other_kind
from gptpy.data.packed import is_packed, open_file

HIDDEN = "hidden (named .something)"
EMPTY = "empty"
UNREADABLE = "not readable"
NO_FILE = "neither a file nor a folder of its own (a link that leads nowhere or away, a pipe)"
BINARY = "binary, though named as text"


def files_of(
    folder: Path, known: Callable[[Path], bool]
) -> tuple[list[Path], dict[str, list[str]]]:
    """The files below `folder` that are `known` by their names, sorted, and what is left out.

    Hidden files and folders are those of programs, such as `._a.txt` or `.ipynb_checkpoints`, which
    hold copies. Linked folders are not entered: they could lead back. Files with names that are not
    known are passed over. The second value: the names left out, by reason.
    """
    found: list[Path] = []
    left_out: dict[str, list[str]] = {}

    def leave(path: str | Path, reason: str) -> None:
        left_out.setdefault(reason, []).append(str(Path(path).relative_to(folder)))

    walk = os.walk(folder, onerror=lambda error: leave(error.filename, UNREADABLE))
    for place, folders, files in walk:
        for name in [name for name in folders if name.startswith(".")]:
            leave(Path(place, name), HIDDEN)
            folders.remove(name)
        for name in folders:
            if Path(place, name).is_symlink():
                leave(Path(place, name), NO_FILE)
        for path in (Path(place, name) for name in files):
            if not known(path):
                continue
            reason = HIDDEN if path.name.startswith(".") else _unusable(path)
            if reason:
                leave(path, reason)
            else:
                found.append(path)
    return sorted(found), {reason: sorted(names) for reason, names in left_out.items()}


def _unusable(path: Path) -> str | None:
    """Why a file cannot be a source; None also for one that the user should mend."""
    if not path.is_file():
        return NO_FILE
    if not os.access(path, os.R_OK):
        return UNREADABLE
    if not path.stat().st_size:
        return EMPTY
    if is_packed(path) or path.suffix.lower() == ".parquet":
        return None
    try:
        with open_file(path) as file:
            head = file.read(HEAD_BYTES)
    except DataError:
        return UNREADABLE
    return BINARY if other_kind(head) and not other_encoding(head) else None


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
