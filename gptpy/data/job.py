"""What a folder is being prepared from: written by the first process, compared by every later one.

`job.json` holds tokenizer, options and slices of the sources; the file of each slice that is done,
a digest of the bytes it was made from. So a folder never mixes two jobs, or two states of a source.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from gptpy.data.documents import HeldOut, PrepareOptions, find_held_out
from gptpy.data.errors import DataError
from gptpy.data.sources import Slice
from gptpy.storage import atomic

JOB = "job.json"
READ_BYTES = 1 << 20


def done_file(folder: Path, number: int) -> Path:
    """The file that says that a slice is done, and what its shards hold."""
    return folder / f"slice-{number:05}.json"


def read_record(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a job; `DataError` where it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}): remove {path.parent}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected an object of JSON: remove {path.parent}")
    return found


def claim(
    folder: Path, slices: Sequence[Slice], fingerprint: str, options: PrepareOptions
) -> HeldOut | None:
    """Write what this job is, or check that the folder's job is this one.

    Returns which document is held out, if that must be said. In a folder of an older version it is
    the only document of an only slice, which is cut in two, and no other.
    """
    job: dict[str, Any] = {
        "fingerprint": fingerprint,
        "options": asdict(options),
        "slices": [asdict(piece) for piece in slices],
    }
    path = folder / JOB
    if not path.is_file():
        held_out = find_held_out(slices, options)
        job["held_out"] = asdict(held_out) if held_out else None
        atomic.write_text(path, json.dumps(job, indent=1) + "\n")
        return held_out
    found = read_record(path)
    # An older version wrote no options that came later; it did what is their default
    found["options"] = {**asdict(PrepareOptions()), **found.get("options", {})}
    for key, value in job.items():
        if found.get(key) != value:
            raise DataError(
                f"{folder} holds a data set prepared with {_difference(key, found, job)}: "
                "take another folder, or remove this one"
            )
    if "held_out" in found:
        return HeldOut(**found["held_out"]) if found["held_out"] else None
    return HeldOut(0, 0, cut=True) if len(slices) == 1 and options.validation else None


def _difference(key: str, there: dict[str, Any], here: dict[str, Any]) -> str:
    """How two jobs differ under `key`, with the values of both."""
    if key == "fingerprint":
        return f"another tokenizer, {there.get(key, '?')[:12]}, not this one, {here[key][:12]}"
    if key == "options":
        old, new = there.get(key, {}), here[key]
        names = [name for name in new if old.get(name) != new[name]]
        parts = [f"{name} = {old.get(name)!r}, not {new[name]!r}" for name in names]
        return f"other options: {'; '.join(parts)}"
    old, new = there.get(key, []), here[key]
    for was, now in zip(old, new, strict=False):
        if was != now:
            changes = [f"{k} {was.get(k)!r}, not {now[k]!r}" for k in now if was.get(k) != now[k]]
            return f"other sources: {now['path']}: {', '.join(changes)}"
    return f"other sources: {len(old)} slices, not {len(new)}"


def content_of(piece: Slice) -> str | None:
    """A digest of the bytes of a slice as they are in its file; None for what is no file."""
    if piece.kind == "hf":
        return None
    digest, left = blake2b(digest_size=16), piece.end - piece.start
    with Path(piece.path).open("rb") as file:
        file.seek(piece.start)
        while block := file.read(min(READ_BYTES, left)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def check_source(folder: Path, number: int, piece: Slice) -> None:
    """`DataError` where the bytes of a slice that is done are others now.

    An older version noted no digest: then only the size is known, which `claim` compares.
    """
    before = read_record(done_file(folder, number)).get("source")
    if before is not None and content_of(piece) != before:
        raise DataError(
            f"{folder} holds a data set prepared with other sources: the content of {piece.path} "
            "has changed: take another folder, or remove this one"
        )
