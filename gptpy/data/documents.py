"""Documents by split: which of them train and which validate.

A document's own bytes decide its split, so that equal documents stay together however the sources
are sliced and whichever process reads them. Where that would leave a split empty, one document is
moved; a data set of one document is cut in two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
class Moved:
    """The one document that its own bytes do not place, by its place among all.

    `split` is where it goes: "train", "validation", or "both": it is cut in two if it is the only
    document of its slice.
    """

    slice: int
    document: int
    split: str


def find_moved(slices: Sequence[Slice], options: PrepareOptions) -> Moved | None:
    """The document to move so that both splits get one; None where they do, or nothing validates.

    Of two or more documents in one split that is the one nearest to the border; a single one is cut
    in two. Reads only until each split has a document.
    """
    if not options.validation:
        return None
    if len(slices) == 1 and is_one_document(slices[0], options.separator):
        return Moved(0, 0, "both")
    nearest: tuple[float, int, int] | None = None
    splits, count = set(), 0
    for number, piece in enumerate(slices):
        for place, share in enumerate(_shares(piece, options)):
            splits.add(_split_at(share, options))
            if len(splits) == len(SPLITS):
                return None
            here = (abs(share - options.validation), number, place)
            nearest, count = min(nearest or here, here), count + 1
    if nearest is None:
        return None
    other = "train" if "validation" in splits else "validation"
    return Moved(nearest[1], nearest[2], other if count > 1 else "both")


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

    Both sides get one of two or more where anything validates, as by `find_moved`.
    """
    all_, border = list(found), options.validation
    inside = [share < border for share, _ in all_]
    if border and len(all_) > 1 and len(set(inside)) == 1:
        nearest = min(range(len(all_)), key=lambda place: abs(all_[place][0] - border))
        inside[nearest] = not inside[nearest]
    sides = list(zip(inside, (example for _, example in all_), strict=True))
    return [e for held_out, e in sides if not held_out], [e for held_out, e in sides if held_out]


def split_batches(
    piece: Slice, options: PrepareOptions, moved: Moved | None = None
) -> Iterator[dict[str, list[str]]]:
    """The documents of a slice by split, about `BATCH_BYTES` at a time.

    `moved`: the one of this slice that goes elsewhere than its bytes say.
    """
    found = documents(piece, field=options.field, separator=options.separator)
    first, second = next(found, None), next(found, None)
    if first is None:
        return
    if moved and moved.split == "both" and second is None:
        head, tail = split_text(first.encode("utf-8"), 1 - options.validation)
        parts = {"train": head, "validation": tail} if head else {"train": tail}
        yield {
            split: [parts[split].decode("utf-8")] if parts.get(split) else [] for split in SPLITS
        }
        return
    batch: dict[str, list[str]] = {split: [] for split in SPLITS}
    size = 0
    for number, text in enumerate(chain([first] if second is None else [first, second], found)):
        here = moved.split if moved and moved.document == number else "both"
        split = split_of([text.encode("utf-8")], options) if here == "both" else here
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
    moved = find_moved(slices, options)
    for number, piece in enumerate(slices):
        for batch in split_batches(piece, options, of_slice(moved, number)):
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


def of_slice(moved: Moved | None, number: int) -> Moved | None:
    """`moved` if its document belongs to slice `number`."""
    return moved if moved and moved.slice == number else None


@contextmanager
def split_text_file(
    piece: Slice, options: PrepareOptions, *, moved: Moved | None, folder: Path
) -> Iterator[dict[str, Path]]:
    """`split_batches` for a slice that is one text file, as files instead of texts.

    Memory stays bounded however long the text is. Yields the file of each split that has text: the
    source itself, or, where it must be cut, unpacked or freed of a byte order mark, copies in a
    temporary folder inside `folder`. `is_one_document` says which slices this is for.
    """
    source, cut = Path(piece.path), moved is not None and moved.split == "both"
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
            yield {moved.split if moved else split: source}
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
    moved = find_moved(slices, options)
    with ExitStack() as stack:
        parts = [
            stack.enter_context(
                split_text_file(piece, options, moved=of_slice(moved, number), folder=folder)
            )
            for number, piece in enumerate(slices)
        ]
        yield [part["train"] for part in parts if "train" in part]
