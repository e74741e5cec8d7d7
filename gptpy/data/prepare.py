"""Texts to id shards, slice by slice; any number of processes may share the work.

Every slice of the sources becomes one shard for each split, written atomically, and a small JSON
file that says it is done. A process skips slices that are done, so a killed one is simply started
again. The process that finds all slices done writes the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from gptpy.data.documents import (
    SPLITS,
    PrepareOptions,
    is_one_document,
    split_batches,
    split_text_file,
)
from gptpy.data.errors import DataError
from gptpy.data.ids import IdWriter, dtype_for
from gptpy.data.prepared import Shard, write_manifest
from gptpy.data.sources import Slice, list_slices
from gptpy.runs.progress import Reporter, Silent
from gptpy.storage import atomic
from gptpy.tokenizer import Tokenizer, encode_batch, end_of_text, save_tokenizer

JOB = "job.json"


def prepare(
    sources: Sequence[str],
    tokenizer: Tokenizer,
    folder: Path,
    options: PrepareOptions | None = None,
    *,
    rank: int = 0,
    world_size: int = 1,
    reporter: Reporter | None = None,
) -> bool:
    """Encode this process's slices of `sources` into `folder`; True if the data set is complete.

    With several processes (`rank` of `world_size`, a shared folder), one that ends while others
    still work returns False; the last one writes the manifest. Raises `DataError` when the folder
    belongs to another job.
    """
    options, reporter = options or PrepareOptions(), reporter or Silent()
    slices = list_slices(sources, options.slice_bytes, separator=options.separator)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, slices, tokenizer, options)
    save_tokenizer(tokenizer, folder)
    for number in range(rank, len(slices), world_size):
        name = f"slice {number + 1} of {len(slices)}"
        if _done_file(folder, number).is_file():
            reporter.on_message(f"{name} is done already: {slices[number].path}")
            continue
        ids = _prepare_slice(
            folder, number, slices[number], tokenizer, options, alone=len(slices) == 1
        )
        reporter.on_message(f"{name}: {ids:,} ids from {slices[number].path}")
    return _finish(folder, len(slices), tokenizer)


def _claim(
    folder: Path, slices: Sequence[Slice], tokenizer: Tokenizer, options: PrepareOptions
) -> None:
    """Write what this job is, or check that the folder's job is this one."""
    job = {
        "fingerprint": tokenizer.fingerprint,
        "options": asdict(options),
        "slices": [asdict(piece) for piece in slices],
    }
    path = folder / JOB
    if not path.is_file():
        atomic.write_text(path, json.dumps(job, indent=1) + "\n")
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    # An older version wrote no options that came later; it did what is their default
    found["options"] = {**asdict(PrepareOptions()), **found.get("options", {})}
    for key, value in job.items():
        if found.get(key) != value:
            raise DataError(
                f"{folder} holds a data set prepared with {_difference(key, found, job)}: "
                "take another folder, or remove this one"
            )


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


def _done_file(folder: Path, number: int) -> Path:
    return folder / f"slice-{number:05}.json"


@dataclass
class _Shard:
    """A shard while it is written: its ids so far, and how much text they stand for."""

    tokenizer: Tokenizer
    end: int | None
    """The id that follows every document."""
    out: IdWriter
    bytes: int = field(default=0, init=False)
    documents: int = field(default=0, init=False)

    def add_texts(self, texts: Sequence[str]) -> None:
        """Append documents."""
        if not texts:
            return
        ids, offsets = encode_batch(self.tokenizer, texts)
        self.out.write(ids if self.end is None else np.insert(ids, offsets[1:], self.end))
        self.bytes += sum(len(text.encode("utf-8")) for text in texts)
        self.documents += len(texts)

    def add_file(self, path: Path) -> None:
        """Append a text file as one document, with bounded memory; ids as by `add_texts`."""
        with TemporaryDirectory(dir=self.out.path.parent, prefix=".encode-") as temporary:
            ids = Path(temporary, "ids")
            # Special tokens in the text are plain text, as in `encode_batch`
            cast(Any, self.tokenizer).encode_files(path, out=ids, dtype=self.out.dtype)
            self.out.write_file(ids)
        if self.end is not None:
            self.out.write(np.array([self.end]))
        self.bytes += path.stat().st_size
        self.documents += 1


def _prepare_slice(
    folder: Path,
    number: int,
    piece: Slice,
    tokenizer: Tokenizer,
    options: PrepareOptions,
    *,
    alone: bool,
) -> int:
    """Write the shards of one slice, and the file that says so; returns how many ids they hold."""
    dtype = dtype_for(tokenizer.n_vocab)
    end = end_of_text(tokenizer) if options.append_end_of_text else None
    shards: dict[str, _Shard] = {}
    with ExitStack() as stack:
        for split in SPLITS:
            writer = IdWriter(folder / f"{split}-{number:05}.ids", dtype, tokenizer.fingerprint)
            shards[split] = _Shard(tokenizer, end, stack.enter_context(writer))
        if is_one_document(piece, options.separator) and hasattr(tokenizer, "encode_files"):
            parts = split_text_file(piece, options, alone=alone, folder=folder)
            for split, path in stack.enter_context(parts).items():
                shards[split].add_file(path)
        else:
            for batch in split_batches(piece, options, alone=alone):
                for split, texts in batch.items():
                    shards[split].add_texts(texts)
    done = {
        split: Shard(shard.out.path.name, shard.out.count, shard.bytes, shard.documents)
        for split, shard in shards.items()
    }
    text = json.dumps({split: asdict(shard) for split, shard in done.items()})
    atomic.write_text(_done_file(folder, number), text + "\n")
    return sum(shard.ids for shard in done.values())


def _finish(folder: Path, count: int, tokenizer: Tokenizer) -> bool:
    """Write the manifest if all slices are done; returns whether they are."""
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
