"""A prepared data set: a folder of id shards, `manifest.json` and `tokenizer.json`.

The manifest is written last and names every shard, so that a folder without one is not finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig
from gptpy.data.documents import SPLITS
from gptpy.data.errors import DataError
from gptpy.data.ids import digest_of, dtype_for, open_ids
from gptpy.storage import atomic

MANIFEST = "manifest.json"
FORMAT = 1
# Folders in a run directory that the run prepares from its own sources
OWN_DATA, OWN_VALIDATION = "data", "validation"


@dataclass(frozen=True)
class Shard:
    """One id file of a data set: its name, and how many ids, text bytes and documents it holds."""

    file: str
    ids: int
    bytes: int
    documents: int


@dataclass(frozen=True)
class Split:
    """An opened part of a data set; `shards` are read-only memory maps."""

    shards: list[np.ndarray]
    bytes: int
    documents: int

    @property
    def n_ids(self) -> int:
        """How many ids all shards hold."""
        return sum(len(shard) for shard in self.shards)

    def joined(self) -> np.ndarray:
        """All ids in one array; a single shard stays a map."""
        if len(self.shards) == 1:
            return self.shards[0]
        return np.concatenate(self.shards) if self.shards else np.empty(0, np.uint16)


@dataclass(frozen=True)
class Prepared:
    """A data set as `open_prepared` finds it."""

    folder: Path
    fingerprint: str
    vocab_size: int
    end_of_text: int | None
    train: Split
    validation: Split


def write_manifest(
    folder: Path,
    splits: Mapping[str, Sequence[Shard]],
    *,
    fingerprint: str,
    vocab_size: int,
    end_of_text: int | None,
) -> None:
    """Write `manifest.json`, with what the ids of each part are known by."""
    manifest = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "vocab_size": vocab_size,
        "end_of_text": end_of_text,
        "digests": {
            name: digest_of([open_ids(folder / shard.file).ids for shard in shards])
            for name, shards in splits.items()
        },
        **{name: [asdict(shard) for shard in shards] for name, shards in splits.items()},
    }
    atomic.write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def open_prepared(folder: str | Path) -> Prepared:
    """Open a data set, checking every shard against the manifest.

    Raises `DataError` when the folder is no finished data set, or a shard is missing, was cut, or
    was written by another tokenizer.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        found = "no such folder" if not folder.is_dir() else f"no {MANIFEST} in it"
        raise DataError(
            f"{folder}: is not a prepared data set ({found}); write one with "
            f"`gptpy prepare SOURCE... --tokenizer T -o {folder}`"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format"]
        listed = {name: [Shard(**row) for row in manifest[name]] for name in SPLITS}
        fingerprint, vocab_size = manifest["fingerprint"], manifest["vocab_size"]
        end_of_text = manifest["end_of_text"]
        digests = manifest.get("digests", {})  # none of an older version
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is damaged ({error}); prepare the data again") from None
    if version != FORMAT:
        raise DataError(f"{path}: format {version}, this gptpy reads {FORMAT}")
    dtype = dtype_for(vocab_size)
    opened = {name: _open_split(folder, rows, fingerprint, dtype) for name, rows in listed.items()}
    for name, digest in digests.items():
        if digest_of(opened[name].shards) != digest:
            raise DataError(
                f"{folder}: the ids of {name} are not those that were prepared: a file of them was "
                "replaced or changed; prepare the data again"
            )
    return Prepared(
        folder, fingerprint, vocab_size, end_of_text, opened["train"], opened["validation"]
    )


def _open_split(folder: Path, rows: Sequence[Shard], fingerprint: str, dtype: np.dtype) -> Split:
    shards = []
    for row in rows:
        ids = open_ids(folder / row.file, fingerprint=fingerprint).ids
        if len(ids) != row.ids:
            raise DataError(
                f"{folder / row.file}: holds {len(ids)} ids, the manifest says {row.ids}; "
                "prepare the data again"
            )
        if ids.dtype != dtype:
            raise DataError(
                f"{folder / row.file}: holds ids of {ids.dtype.itemsize} bytes, the manifest's "
                f"vocabulary needs {dtype.itemsize}; prepare the data again"
            )
        shards.append(ids)
    return Split(shards, sum(row.bytes for row in rows), sum(row.documents for row in rows))


def open_splits(config: RunConfig, run_dir: Path) -> Prepared:
    """The id shards that a run on a stream of ids is trained on and scored on."""
    data = config.data
    if not data.train and not data.sources:
        raise ConfigError("data.train must name a folder that `gptpy prepare` wrote")
    # A folder inside the run directory comes first: it moves with the run
    inside = run_dir / (OWN_DATA if data.sources else data.train)
    own = data.sources or (inside / MANIFEST).is_file()
    prepared = open_prepared(inside if own else data.train)
    if data.validation_sources:
        prepared = replace(prepared, validation=open_prepared(run_dir / OWN_VALIDATION).train)
    return prepared
