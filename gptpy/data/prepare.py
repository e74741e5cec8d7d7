"""Texts to id shards, slice by slice; any number of processes may share the work.

Every slice of the sources becomes one shard for each split, written atomically, and a small JSON
file that says it is done. A process skips what is done, so one that was killed is simply started
again; whoever finds all slices done writes the manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptpy.data.ids import DataError, IdWriter, dtype_for
from gptpy.data.prepared import SPLITS, Shard, write_manifest
from gptpy.data.sources import Slice, documents, list_slices
from gptpy.data.text import split_text
from gptpy.storage import atomic
from gptpy.tokenizer import Tokenizer, encode_batch, end_of_text, save_tokenizer

JOB = "job.json"
BATCH_BYTES = 1 << 23


@dataclass(frozen=True)
class PrepareOptions:
    """How texts become documents. `validation`: the share of documents that validate."""

    field: str = "text"
    separator: str | None = None
    validation: float = 0.1
    seed: int = 0
    slice_bytes: int = 1 << 28

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise DataError(f"the validation share must lie in 0..1, got {self.validation}")
        if self.slice_bytes < 1:
            raise DataError(f"slices need at least one byte, got {self.slice_bytes}")


def prepare(
    sources: Sequence[str],
    tokenizer: Tokenizer,
    folder: Path,
    options: PrepareOptions | None = None,
    *,
    rank: int = 0,
    world_size: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> bool:
    """Encode this process's slices of `sources` into `folder`; True if the data set is complete.

    Of several processes (`rank` of `world_size`, a shared folder), one that ends while others still
    work returns False; the last one writes the manifest. Raises `DataError` when the folder belongs
    to another job.
    """
    options = options or PrepareOptions()
    slices = list_slices(sources, options.slice_bytes, separator=options.separator)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, slices, tokenizer, options)
    save_tokenizer(tokenizer, folder)
    for number in range(rank, len(slices), world_size):
        if _done_file(folder, number).is_file():
            say(f"slice {number + 1} of {len(slices)} is done already: {slices[number].path}")
            continue
        shards = _prepare_slice(folder, number, len(slices), slices[number], tokenizer, options)
        ids = sum(shard.ids for shard in shards.values())
        say(f"slice {number + 1} of {len(slices)}: {ids:,} ids from {slices[number].path}")
    return _finish(folder, len(slices), tokenizer)


def _claim(
    folder: Path, slices: Sequence[Slice], tokenizer: Tokenizer, options: PrepareOptions
) -> None:
    """Write what this job is, or check that the folder's job is this one."""
    job = json.loads(
        json.dumps(
            {
                "fingerprint": tokenizer.fingerprint,
                "options": asdict(options),
                "slices": [asdict(piece) for piece in slices],
            }
        )
    )
    path = folder / JOB
    if path.is_file():
        there = json.loads(path.read_text(encoding="utf-8"))
        for key, value in job.items():
            if there.get(key) != value:
                raise DataError(
                    f"{folder} holds a data set prepared with {_difference(key, there, job)}: "
                    "take another folder, or remove this one"
                )
        return
    atomic.write_text(path, json.dumps(job, indent=1) + "\n")


def _difference(key: str, there: dict[str, Any], here: dict[str, Any]) -> str:
    """What the two jobs disagree about, both sides of it."""
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


def _done_file(folder: Path, number: int) -> Path:
    return folder / f"slice-{number:05}.json"


def _prepare_slice(
    folder: Path,
    number: int,
    count: int,
    piece: Slice,
    tokenizer: Tokenizer,
    options: PrepareOptions,
) -> dict[str, Shard]:
    dtype = dtype_for(tokenizer.n_vocab)
    names = {split: f"{split}-{number:05}.ids" for split in SPLITS}
    found = documents(piece, field=options.field, separator=options.separator)
    alone = count == 1
    totals = {split: [0, 0] for split in SPLITS}
    with (
        IdWriter(folder / names["train"], dtype, tokenizer.fingerprint) as train,
        IdWriter(folder / names["validation"], dtype, tokenizer.fingerprint) as validation,
    ):
        writers = {"train": train, "validation": validation}
        for batch in _split_batches(found, options, alone):
            for split, texts in batch.items():
                if texts:
                    writers[split].write(_encode(tokenizer, texts))
                    totals[split][0] += sum(len(text.encode("utf-8")) for text in texts)
                    totals[split][1] += len(texts)
        counts = {split: writers[split].count for split in SPLITS}
    shards = {split: Shard(names[split], counts[split], *totals[split]) for split in SPLITS}
    done = {split: asdict(shard) for split, shard in shards.items()}
    atomic.write_text(_done_file(folder, number), json.dumps(done) + "\n")
    return shards


def _split_batches(
    found: Iterator[str], options: PrepareOptions, alone: bool
) -> Iterator[dict[str, list[str]]]:
    """Documents by split, about `BATCH_BYTES` at a time.

    Which split follows from the document's own bytes, so that equal documents stay together however
    the sources are sliced. A data set of one single document is cut at the validation share.
    """
    first = next(found, None)
    if first is None:
        return
    second = next(found, None)
    if alone and second is None and options.validation:
        head, tail = split_text(first.encode("utf-8"), 1 - options.validation)
        yield {"train": [head.decode("utf-8")], "validation": [tail.decode("utf-8")]}
        return
    batch: dict[str, list[str]] = {split: [] for split in SPLITS}
    size = 0
    for text in _chain(first, second, found):
        validates = share(text, options.seed) < options.validation
        batch["validation" if validates else "train"].append(text)
        size += len(text)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = {split: [] for split in SPLITS}, 0
    yield batch


def _chain(first: str, second: str | None, rest: Iterator[str]) -> Iterator[str]:
    yield first
    if second is not None:
        yield second
    yield from rest


def split_texts(
    sources: Sequence[str], options: PrepareOptions, splits: Sequence[str] = SPLITS
) -> Iterator[str]:
    """The documents of `sources` that `prepare` puts into `splits`."""
    slices = list_slices(sources, options.slice_bytes, separator=options.separator)
    for piece in slices:
        found = documents(piece, field=options.field, separator=options.separator)
        for batch in _split_batches(found, options, len(slices) == 1):
            for split in splits:
                yield from batch[split]


def share(text: str, seed: int) -> float:
    """A number in 0..1 that depends on the text and the seed only."""
    digest = hashlib.blake2b(
        text.encode("utf-8"), digest_size=8, key=seed.to_bytes(8, "little", signed=True)
    )
    return int.from_bytes(digest.digest(), "little") / 2**64


def _encode(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    """The ids of all texts in one row, each followed by end-of-text where there is one."""
    ids, offsets = encode_batch(tokenizer, texts)
    end = end_of_text(tokenizer)
    if end is None:
        return ids
    return np.insert(ids, offsets[1:], end)


def _finish(folder: Path, count: int, tokenizer: Tokenizer) -> bool:
    rows: list[dict[str, Any]] = []
    for number in range(count):
        path = _done_file(folder, number)
        if not path.is_file():
            return False
        rows.append(json.loads(path.read_text(encoding="utf-8")))
    splits = {split: [Shard(**row[split]) for row in rows if row[split]["ids"]] for split in SPLITS}
    if not splits["train"]:
        raise DataError(f"{folder}: the sources hold no document to train on")
    write_manifest(
        folder,
        splits,
        fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.n_vocab,
        end_of_text=end_of_text(tokenizer),
    )
    return True
