"""Documents by split: which of them train and which validate.

A document's own bytes decide its split, so that equal documents stay together however the sources
are sliced and whichever process reads them. A data set of one document is cut in two instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from gptpy.data.errors import DataError
from gptpy.data.sources import (
    Slice,
    documents,
    file_blocks,
    is_one_document,
    is_plain_text,
    list_slices,
)
from gptpy.data.text import split_file, split_text

SPLITS = ("train", "validation")
BATCH_BYTES = 1 << 23


@dataclass(frozen=True)
class PrepareOptions:
    """How texts become documents and ids.

    `validation`: the share of documents that validate. `append_end_of_text`: whether that token,
    where the tokenizer has one, follows every document.
    """

    field: str = "text"
    separator: str | None = None
    validation: float = 0.1
    seed: int = 0
    slice_bytes: int = 1 << 28
    append_end_of_text: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise DataError(f"the validation share must lie in 0..1, got {self.validation}")
        if self.slice_bytes < 1:
            raise DataError(f"slices need at least one byte, got {self.slice_bytes}")


def split_of(document: Iterable[bytes], options: PrepareOptions) -> str:
    """The split, "train" or "validation", of a document whose bytes come in any pieces."""
    digest = hashlib.blake2b(digest_size=8, key=options.seed.to_bytes(8, "little", signed=True))
    for piece in document:
        digest.update(piece)
    share = int.from_bytes(digest.digest(), "little") / 2**64
    return "validation" if share < options.validation else "train"


def split_batches(
    piece: Slice, options: PrepareOptions, *, alone: bool
) -> Iterator[dict[str, list[str]]]:
    """The documents of a slice by split, about `BATCH_BYTES` at a time.

    `alone`: whether the slice is all that the sources hold; its document is then cut at the
    validation share if there is one only.
    """
    found = documents(piece, field=options.field, separator=options.separator)
    first, second = next(found, None), next(found, None)
    if first is None:
        return
    if alone and second is None and options.validation:
        head, tail = split_text(first.encode("utf-8"), 1 - options.validation)
        yield {"train": [head.decode("utf-8")], "validation": [tail.decode("utf-8")]}
        return
    batch: dict[str, list[str]] = {split: [] for split in SPLITS}
    size = 0
    for text in chain([first] if second is None else [first, second], found):
        batch[split_of([text.encode("utf-8")], options)].append(text)
        size += len(text)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = {split: [] for split in SPLITS}, 0
    yield batch


def split_texts(
    sources: Sequence[str], options: PrepareOptions, splits: Sequence[str] = SPLITS
) -> Iterator[str]:
    """The documents of `sources` that fall into `splits`."""
    slices = list_slices(sources, options.slice_bytes, separator=options.separator)
    for piece in slices:
        for batch in split_batches(piece, options, alone=len(slices) == 1):
            for split in splits:
                yield from batch[split]


@contextmanager
def split_text_file(
    piece: Slice, options: PrepareOptions, *, alone: bool, folder: Path
) -> Iterator[dict[str, Path]]:
    """`split_batches` for a slice that is one text file, as files instead of texts.

    Memory stays bounded however long the text is. Yields the file of each split that has text: the
    source itself, or, where it must be cut or unpacked, copies in a temporary folder inside
    `folder`. `is_one_document` says which slices this is for.
    """
    source, cut = Path(piece.path), alone and options.validation > 0
    with TemporaryDirectory(dir=folder, prefix=".split-") as temporary:
        train, validation = Path(temporary, "train.txt"), Path(temporary, "validation.txt")
        blocks = file_blocks(piece)
        if cut or not is_plain_text(source):
            with train.open("wb") as copy:
                split = split_of(_copied(blocks, copy), options)
            source = train
        else:
            split = split_of(blocks, options)
        if not source.stat().st_size:
            yield {}
        elif cut:
            split_file(train, validation, 1 - options.validation)
            yield {"train": train, "validation": validation}
        else:
            yield {split: source}


def _copied(blocks: Iterable[bytes], file: BinaryIO) -> Iterator[bytes]:
    for block in blocks:
        file.write(block)
        yield block


@contextmanager
def training_files(
    sources: Sequence[str], options: PrepareOptions, folder: Path
) -> Iterator[list[Any] | None]:
    """The paths of text files that hold the training split; None if sources hold anything else.

    Copies that are needed lie in a temporary folder inside `folder`.
    """
    slices = list_slices(sources, options.slice_bytes, separator=options.separator)
    if not all(is_one_document(piece, options.separator) for piece in slices):
        yield None
        return
    with ExitStack() as stack:
        parts = [
            stack.enter_context(
                split_text_file(piece, options, alone=len(slices) == 1, folder=folder)
            )
            for piece in slices
        ]
        yield [part["train"] for part in parts if "train" in part]
