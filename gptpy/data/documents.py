"""Documents by split: which of them train and which validate.

A document's own bytes decide its split, so that equal documents stay together however the sources
are sliced and whichever process reads them. Where that would leave a split empty, one document is
held out; a data set of one document is cut in two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeVar

from gptpy.data.errors import DataError
from gptpy.data.sources import (
    Slice,
    divides,
    documents,
    is_one_document,
    is_plain_text,
    list_slices,
)
from gptpy.data.text import begins_with_mark, file_blocks, split_file, split_text
from gptpy.runs.progress import Reporter

T = TypeVar("T")

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
        if not -(2**63) <= self.seed < 2**63:
            raise DataError(f"the seed must fit into 64 bits, got {self.seed}")
        if self.slice_bytes < 1:
            raise DataError(f"slices need at least one byte, got {self.slice_bytes}")


def share_of(document: Iterable[bytes], options: PrepareOptions) -> float:
    """A number in 0..1 that follows from a document's bytes, which come in any pieces."""
    digest = hashlib.blake2b(digest_size=8, key=options.seed.to_bytes(8, "little", signed=True))
    for piece in document:
        digest.update(piece)
    return int.from_bytes(digest.digest(), "little") / 2**64


def split_of(document: Iterable[bytes], options: PrepareOptions) -> str:
    """The split, "train" or "validation", of a document whose bytes come in any pieces."""
    return _split_at(share_of(document, options), options)


def _split_at(share: float, options: PrepareOptions) -> str:
    return "validation" if share < options.validation else "train"


@dataclass(frozen=True)
class HeldOut:
    """The one document that validates where the documents' bytes alone would leave a split empty.

    All others train. `document` counts those of the slice with number `slice`. With `cut` it is the
    only one, and its end validates.
    """

    slice: int
    document: int
    cut: bool = False

    def in_slice(self, number: int) -> HeldOut:
        """The same for the documents of one slice; another's document gets the number -1."""
        return self if number == self.slice else replace(self, document=-1)


def find_held_out(slices: Sequence[Slice], options: PrepareOptions) -> HeldOut | None:
    """The document to hold out; None where both splits get one anyway, or nothing validates.

    It is the one whose bytes come nearest to validating. Reads until each split has a document.
    """
    if not options.validation:
        return None
    if len(slices) == 1 and is_one_document(slices[0], options.separator):
        return HeldOut(0, 0, cut=True)
    nearest: tuple[float, int, int] | None = None
    splits, count = set(), 0
    for number, piece in enumerate(slices):
        for place, share in enumerate(_shares(piece, options)):
            splits.add(_split_at(share, options))
            if len(splits) == len(SPLITS):
                return None
            here = (share, number, place)
            nearest, count = min(nearest or here, here), count + 1
    return HeldOut(nearest[1], nearest[2], cut=count == 1) if nearest else None


def _shares(piece: Slice, options: PrepareOptions) -> Iterator[float]:
    if is_one_document(piece, options.separator):
        blocks = file_blocks(Path(piece.path), nul=True)
        if first := next(blocks, b""):
            yield share_of(chain([first], blocks), options)
        return
    for text in documents(piece, field=options.field, separator=options.separator):
        yield share_of([text.encode("utf-8")], options)


def both_sides(
    found: Iterable[tuple[float, T]], options: PrepareOptions
) -> tuple[list[T], list[T]]:
    """The examples that train and those that validate, each given with its share, in their order.

    Where one side would stay empty, one example validates, as by `find_held_out`; a single one
    trains.
    """
    all_ = list(found)
    inside = [share < options.validation for share, _ in all_]
    if options.validation and len(set(inside)) == 1:
        nearest = min(range(len(all_)), key=lambda place: all_[place][0])
        inside = [len(all_) > 1 and place == nearest for place in range(len(all_))]
    sides = list(zip(inside, (example for _, example in all_), strict=True))
    return [e for held_out, e in sides if not held_out], [e for held_out, e in sides if held_out]


def split_batches(
    piece: Slice, options: PrepareOptions, held_out: HeldOut | None = None
) -> Iterator[dict[str, list[str]]]:
    """The documents of a slice by split, about `BATCH_BYTES` at a time.

    `held_out`: as by `HeldOut.in_slice`, where that decides instead of the documents' bytes.
    """
    found = documents(piece, field=options.field, separator=options.separator)
    first, second = next(found, None), next(found, None)
    if first is None:
        return
    if held_out and held_out.cut and second is None:
        head, tail = split_text(first.encode("utf-8"), 1 - options.validation)
        parts = {"train": head, "validation": tail} if head else {"train": tail}
        yield {
            split: [parts[split].decode("utf-8")] if parts.get(split) else [] for split in SPLITS
        }
        return
    batch: dict[str, list[str]] = {split: [] for split in SPLITS}
    size = 0
    for number, text in enumerate(chain([first] if second is None else [first, second], found)):
        if held_out and not held_out.cut:
            split = "validation" if number == held_out.document else "train"
        else:
            split = split_of([text.encode("utf-8")], options)
        batch[split].append(text)
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
    held_out = find_held_out(slices, options)
    for number, piece in enumerate(slices):
        for batch in split_batches(piece, options, held_out and held_out.in_slice(number)):
            for split in splits:
                yield from batch[split]


def texts_with_shares(
    sources: Sequence[str], options: PrepareOptions, reporter: Reporter | None = None
) -> Iterator[tuple[float, str]]:
    """The documents of `sources`, each with the share that decides its split.

    Where anything validates a single one is cut in two, with shares that lie on either side.
    """
    separator = options.separator
    slices = list_slices(sources, options.slice_bytes, separator=separator, reporter=reporter)
    tell_unused(slices, separator, reporter)
    found = (
        text
        for piece in slices
        for text in documents(piece, field=options.field, separator=separator)
    )
    first, second = next(found, None), next(found, None)
    if first is not None and second is None and options.validation:
        head, tail = split_text(first.encode("utf-8"), 1 - options.validation)
        yield from ((1.0, head.decode("utf-8")), (0.0, tail.decode("utf-8")))
        return
    for text in chain([t for t in (first, second) if t is not None], found):
        yield share_of([text.encode("utf-8")], options), text


def tell_unused(slices: Sequence[Slice], separator: str | None, reporter: Reporter | None) -> None:
    """Say that a separator divides nothing: then each text file is one document."""
    if separator and reporter and not divides(slices, separator):
        reporter.on_message(
            f"the separator {separator!r} never occurs: a text file is one document"
        )


@contextmanager
def split_text_file(
    piece: Slice, options: PrepareOptions, *, held_out: HeldOut | None, folder: Path
) -> Iterator[dict[str, Path]]:
    """`split_batches` for a slice that is one text file, as files instead of texts.

    Memory stays bounded however long the text is. Yields the file of each split that has text: the
    source itself, or, where it must be cut, unpacked or freed of a byte order mark, copies in a
    temporary folder inside `folder`. `is_one_document` says which slices this is for.
    """
    source, cut = Path(piece.path), held_out is not None and held_out.cut
    with TemporaryDirectory(dir=folder, prefix=".split-") as temporary:
        train, validation = Path(temporary, "train.txt"), Path(temporary, "validation.txt")
        blocks = file_blocks(source, nul=True)
        if cut or not is_plain_text(source) or begins_with_mark(source):
            with train.open("wb") as copy:
                split = split_of(_copied(blocks, copy), options)
            source = train
        else:
            split = split_of(blocks, options)
        if not source.stat().st_size:
            yield {}
            return
        if not cut:
            if held_out:
                split = "train" if held_out.document else "validation"
            yield {split: source}
            return
        split_file(train, validation, 1 - options.validation)
        parts = {"train": train, "validation": validation}
        if not train.stat().st_size:  # of one character
            parts = {"train": validation}
        yield {split: path for split, path in parts.items() if path.stat().st_size}


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
    found = find_held_out(slices, options)
    with ExitStack() as stack:
        parts = []
        for number, piece in enumerate(slices):
            held_out = found and found.in_slice(number)
            files = split_text_file(piece, options, held_out=held_out, folder=folder)
            parts.append(stack.enter_context(files))
        yield [part["train"] for part in parts if "train" in part]
