"""Texts to id shards, slice by slice; any number of processes may share the work.

Every slice of the sources becomes one shard for each split, written atomically, and a small JSON
file that says it is done. A process skips slices that are done, so a killed one is simply started
again. The process that finds all slices done writes the manifest. `job.json`, written by the first
process and compared by every later one, holds tokenizer, options and slices, and the file of each
slice a digest of the bytes it was made from: so a folder never mixes two jobs, or two states of a
source.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from gptpy.data.documents import (
    SPLITS,
    HeldOut,
    PrepareOptions,
    find_held_out,
    split_batches,
    split_text_file,
    tell_unused,
)
from gptpy.data.errors import DataError
from gptpy.data.ids import IdWriter, dtype_for
from gptpy.data.prepared import Shard, open_prepared, write_manifest
from gptpy.data.sources import Slice, is_one_document, list_slices
from gptpy.runs.progress import Reporter, Silent, counted
from gptpy.storage import atomic
from gptpy.tokenizer import Tokenizer, encode_batch, end_of_text, save_tokenizer

JOB = "job.json"
READ_BYTES = 1 << 20


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
    held_out = _claim(folder, slices, tokenizer.fingerprint, options)
    save_tokenizer(tokenizer, folder)
    tell_unused(slices, options.separator, speaker)
    for number in range(rank, len(slices), world_size):
        name = f"slice {number + 1} of {len(slices)}"
        if _done_file(folder, number).is_file():
            _check_source(folder, number, slices[number])
            reporter.on_message(f"{name} is done already: {slices[number].path}")
            continue
        here = held_out and held_out.in_slice(number)
        ids = _prepare_slice(folder, number, slices[number], tokenizer, options, here)
        reporter.on_message(f"{name}: {counted(ids, 'id')} from {slices[number].path}")
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
    text = json.dumps({**row, "source": _content_of(piece)})
    atomic.write_text(_done_file(folder, number), text + "\n")
    return sum(shard.ids for shard in done.values())


def _finish(folder: Path, count: int, tokenizer: Tokenizer) -> bool:
    """Write the manifest if all slices are done; returns whether they are."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        if not _done_file(folder, number).is_file():
            return False
        rows.append(_read_record(_done_file(folder, number)))
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


# ---- The job


def _done_file(folder: Path, number: int) -> Path:
    """The file that says that a slice is done, and what its shards hold."""
    return folder / f"slice-{number:05}.json"


def _read_record(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a job; `DataError` where it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}): remove {path.parent}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected an object of JSON: remove {path.parent}")
    return found


def _claim(
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
    found = _read_record(path)
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
    return f"other sources: {counted(len(old), 'slice')}, not {len(new)}"


def _content_of(piece: Slice) -> str | None:
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


def _check_source(folder: Path, number: int, piece: Slice) -> None:
    """`DataError` where the bytes of a slice that is done are others now.

    An older version noted no digest: then only the size is known, which `_claim` compares.
    """
    before = _read_record(_done_file(folder, number)).get("source")
    if before is not None and _content_of(piece) != before:
        raise DataError(
            f"{folder} holds a data set prepared with other sources: the content of {piece.path} "
            "has changed: take another folder, or remove this one"
        )
