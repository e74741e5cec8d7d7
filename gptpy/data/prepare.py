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
    HeldOut,
    PrepareOptions,
    split_batches,
    split_text_file,
    tell_unused,
)
from gptpy.data.errors import DataError
from gptpy.data.ids import IdWriter, dtype_for
from gptpy.data.job import check_source, claim, content_of, done_file, read_record
from gptpy.data.prepared import Shard, open_prepared, write_manifest
from gptpy.data.sources import Slice, is_one_document, list_slices
from gptpy.runs.progress import Reporter, Silent
from gptpy.storage import atomic
from gptpy.tokenizer import Tokenizer, encode_batch, end_of_text, save_tokenizer


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
    speaker = reporter if rank == 0 else None
    slices = list_slices(
        sources, options.slice_bytes, separator=options.separator, reporter=speaker
    )
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file, expected a folder to write into")
    folder.mkdir(parents=True, exist_ok=True)
    held_out = claim(folder, slices, tokenizer.fingerprint, options)
    save_tokenizer(tokenizer, folder)
    tell_unused(slices, options.separator, speaker)
    for number in range(rank, len(slices), world_size):
        name = f"slice {number + 1} of {len(slices)}"
        if done_file(folder, number).is_file():
            check_source(folder, number, slices[number])
            reporter.on_message(f"{name} is done already: {slices[number].path}")
            continue
        here = held_out and held_out.in_slice(number)
        ids = _prepare_slice(folder, number, slices[number], tokenizer, options, here)
        reporter.on_message(f"{name}: {ids:,} ids from {slices[number].path}")
    complete = _finish(folder, len(slices), tokenizer)
    if complete and options.validation and not open_prepared(folder).validation.n_ids:
        reporter.on_message(
            "nothing validates: the sources hold one document, too short to be cut in two"
        )
    return complete


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
    held_out: HeldOut | None,
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
            parts = split_text_file(piece, options, held_out=held_out, folder=folder)
            for split, path in stack.enter_context(parts).items():
                shards[split].add_file(path)
        else:
            for batch in split_batches(piece, options, held_out):
                for split, texts in batch.items():
                    shards[split].add_texts(texts)
    done = {
        split: Shard(shard.out.path.name, shard.out.count, shard.bytes, shard.documents)
        for split, shard in shards.items()
    }
    row = {split: asdict(shard) for split, shard in done.items()}
    text = json.dumps({**row, "source": content_of(piece)})
    atomic.write_text(done_file(folder, number), text + "\n")
    return sum(shard.ids for shard in done.values())


def _finish(folder: Path, count: int, tokenizer: Tokenizer) -> bool:
    """Write the manifest if all slices are done; returns whether they are."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        if not done_file(folder, number).is_file():
            return False
        rows.append(read_record(done_file(folder, number)))
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
