"""Hugging Face data sets as sources: `hf:NAME[@CONFIG][:SPLIT]`, or `hf:FOLDER[:SPLIT]` on disk.

A name is streamed from the hub (or read from its cache). A folder is one that `save_to_disk`
wrote, or one with data files that `load_dataset` understands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptpy.data.errors import DataError


def count_shards(spec: str, slice_bytes: int) -> int:
    """How many parts the data set can be cut into: its files, or `slice_bytes` of rows each."""
    found = _open(spec)
    if hasattr(found, "num_shards") and not hasattr(found, "data"):
        return max(1, found.num_shards)  # streamed: file by file
    return max(1, min(len(found), -(-found.data.nbytes // slice_bytes)))


def rows(spec: str, shard: int, count: int) -> Iterator[Any]:
    """The rows of part `shard` of `count`."""
    found = _open(spec)
    if count > 1:
        found = found.shard(count, shard)
    return iter(found)


def absolute(spec: str) -> str:
    """`spec` with an absolute path, so that it means the same in any working directory."""
    place, split = _parse(spec)
    return f"hf:{Path(place).resolve()}:{split}" if Path(place).exists() else spec


def _open(spec: str) -> Any:
    """The data set's split. Raises `DataError`; for an unknown split it names those there are."""
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(f"{spec}: needs the datasets package: pip install 'gptpy-lm[hf]'") from None
    place, split = _parse(spec)
    try:
        if (Path(place) / "state.json").is_file() or (Path(place) / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(place)
        elif Path(place).exists():
            found = datasets.load_dataset(place, streaming=True)
        else:
            name, _, config = place.partition("@")
            found = datasets.load_dataset(name, config or None, streaming=True)
    # No network, an unknown name, a missing configuration, an unreadable file: each library beneath
    # raises its own class, and its message says what is wrong
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{spec}: cannot be opened: {first}") from None
    if not isinstance(found, dict):
        return found  # saved without splits
    if split not in found:
        raise DataError(
            f"{spec}: has no split {split!r}, there are {', '.join(map(str, found))}: "
            f"say hf:{place}:SPLIT"
        )
    return found[split]


def _parse(spec: str) -> tuple[str, str]:
    """`(name or folder, split)`; colons in the path of a folder that exists belong to the path."""
    place = spec.removeprefix("hf:")
    if Path(place).exists() or ":" not in place:
        return place, "train"
    place, _, split = place.rpartition(":")
    return place, split or "train"
