"""Documents from txt, jsonl and parquet files, packed or not, folders, Hugging Face data sets.

A source is cut into slices that can be read, and prepared, independently of each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from gptpy.data.errors import DataError
from gptpy.data.files import HEAD_BYTES, files_of, is_packed, listed, open_file, refuse_no_text
from gptpy.data.formats import (
    array_rows,
    count_parts,
    is_array,
    kind_of,
    line_rows,
    parquet_texts,
    rows_of_part,
)
from gptpy.data.text import BYTE_ORDER_MARK, decoded, file_blocks
from gptpy.runs.progress import Reporter

SUFFIXES = {
    ".txt": "text",
    ".md": "text",
    ".text": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
READ_BYTES = 1 << 22


@dataclass(frozen=True)
class Slice:
    """The documents of `path` that begin in the bytes `start..end` (all of a packed file).

    `kind`: "text", "jsonl", "parquet" or "hf". `size` is the file's, so that a changed file is
    noticed. For a Hugging Face data set, `start` is the number of the part and `size` the number
    of parts.
    """

    path: str
    kind: str
    start: int
    end: int
    size: int


def list_slices(
    sources: Sequence[str],
    slice_bytes: int = 1 << 28,
    *,
    separator: str | None = None,
    reporter: Reporter | None = None,
) -> list[Slice]:
    """All slices of files, folders (searched recursively) and `hf:` data sets, in a fixed order.

    A text file is cut only at a `separator` that cannot overlap itself. With "\\n\\n", say, where a
    run of newlines is cut depends on where reading begins, so slices would disagree. `reporter` is
    told which files of a folder are left out.

    Raises `DataError` for a source that does not exist or that nothing here can read.
    """
    slices: list[Slice] = []
    for source in sources:
        if source.startswith("hf:"):
            parts = count_parts(source, slice_bytes)
            slices += [Slice(source, "hf", part, part + 1, parts) for part in range(parts)]
            continue
        path = Path(source)
        if path.is_dir():
            found, left_out = files_of(path, lambda file: _kind(file) is not None)
            if reporter:
                for reason, names in left_out.items():
                    reporter.on_message(f"{path}: left out {listed(names)}: {reason}")
            if not found:
                raise DataError(
                    f"{path}: no {', '.join(SUFFIXES)} file (or .gz, .zst) inside that can be "
                    "read; name .json files themselves"
                )
        elif path.exists():
            found = [path]
        else:
            raise DataError(f"{path}: no such file or folder")
        for file in found:
            slices.extend(_cut(file, slice_bytes, separator))
    return slices


def _kind(path: Path) -> str | None:
    name = path.with_suffix("") if is_packed(path) else path
    return SUFFIXES.get(name.suffix.lower())


def _cut(path: Path, slice_bytes: int, separator: str | None) -> list[Slice]:
    # A folder's .json files may be anything; one that is named is meant
    kind = _kind(path) or ("jsonl" if path.suffix.lower() == ".json" else None)
    size = path.stat().st_size
    if kind is None:
        raise DataError(
            f"{path}: unknown kind of file; known are {', '.join(SUFFIXES)}, each also as .gz, "
            ".zst, and .json"
        )
    whole = kind == "parquet" or is_packed(path) or size <= slice_bytes
    if kind == "text":
        whole = whole or separator is None or _overlaps_itself(separator)
    step = max(size, 1) if whole else slice_bytes
    return [
        Slice(str(path), kind, start, min(start + step, size), size)
        for start in range(0, max(size, 1), step)
    ]


def is_plain_text(path: Path) -> bool:
    """Whether a file's name says that it is text, and not packed."""
    return SUFFIXES.get(path.suffix.lower()) == "text"


def is_one_document(piece: Slice, separator: str | None) -> bool:
    """Whether a slice is a text file that nothing divides into documents."""
    return piece.kind == "text" and not separator


def _overlaps_itself(mark: str) -> bool:
    return any(mark.startswith(mark[i:]) for i in range(1, len(mark)))


def divides(slices: Sequence[Slice], separator: str) -> bool:
    """Whether `separator` occurs in any text file; reads on until it is found."""
    starts = [piece for piece in slices if piece.kind == "text" and not piece.start]
    whole = (replace(piece, end=piece.size) for piece in starts)
    return any(next(islice(_pieces(p, *_mark(separator)), 1, None), None) for p in whole)


def documents(piece: Slice, *, field: str = "text", separator: str | None = None) -> Iterator[str]:
    """The texts of a slice, empty ones left out.

    jsonl and parquet give `field` of each row. A text file is one document, or several with
    `separator` between them; a line break in `separator` is any of "\\n" and "\\r\\n". A byte order
    mark at the beginning of a file is no part of the text. Raises `DataError`, naming the file and
    the line or row in it, for bytes that are not UTF-8, lines that are not JSON and rows without
    the field.
    """
    if piece.kind == "hf":
        rows = enumerate(rows_of_part(piece.path, piece.start, piece.size))
        part = f", part {piece.start + 1} of {piece.size}" if piece.size > 1 else ""
        found = (_field(row, field, f"{piece.path}{part}, row {at}") for at, row in rows)
    elif piece.kind == "parquet":
        found = parquet_texts(Path(piece.path), field)
    elif piece.kind == "jsonl":
        found = (_field(row, field, where) for row, where in json_rows(piece))
    elif separator:
        parts = _pieces(piece, *_mark(separator))
        found = (decoded(data, piece.path, offset) for offset, data in parts)
    else:
        whole = b"".join(file_blocks(Path(piece.path), nul=True)) if not piece.start else b""
        found = iter([whole.decode("utf-8")])
    return (text for text in found if text)


def _mark(separator: str) -> tuple[re.Pattern[bytes], int]:
    """A pattern for `separator` whatever a line ends with, and the most bytes that it matches."""
    lines = separator.replace("\r\n", "\n").encode("utf-8").split(b"\n")
    return re.compile(b"\r?\n".join(map(re.escape, lines))), len(b"\r\n".join(lines))


def _pieces(piece: Slice, mark: re.Pattern[bytes], longest: int) -> Iterator[tuple[int, bytes]]:
    """`(offset, bytes)` of each piece between marks that begins inside the slice.

    A piece that begins inside is read to its end, behind the slice's; one that began before it
    belongs to the slice before. So every piece belongs to exactly one slice. A mark has at most
    `longest` bytes.
    """
    packed = is_packed(piece.path)
    with open_file(Path(piece.path)) as file:
        # A piece begins at the slice's start only if a mark ends there, else after the next mark
        base = max(0, piece.start - longest)  # where the buffer begins in the file
        if base:
            file.seek(base)
        buffer = bytearray(file.read(HEAD_BYTES))
        begin = None if piece.start else 0  # of the piece, in the buffer
        if not piece.start:
            refuse_no_text(bytes(buffer), piece.path)
            if buffer.startswith(BYTE_ORDER_MARK):
                begin = len(BYTE_ORDER_MARK)
        searched = begin or 0
        while True:
            found = mark.search(buffer, searched)
            if found:
                if begin is not None:
                    yield base + begin, bytes(buffer[begin : found.start()])
                searched = found.end()
                begin = searched if base + searched >= piece.start else None
                if begin is not None and not packed and base + begin >= piece.end:
                    return
                continue
            searched = max(searched, len(buffer) - longest + 1)
            more = file.read(READ_BYTES)
            if not more:
                if begin is not None and begin < len(buffer):
                    yield base + begin, bytes(buffer[begin:])
                return
            keep = searched if begin is None else begin
            del buffer[:keep]
            base, searched = base + keep, searched - keep
            begin = None if begin is None else 0
            buffer += more


def json_rows(piece: Slice) -> Iterator[tuple[Any, object]]:
    """Each row of a slice of JSON, parsed, with its place, which is shown by `str`."""
    if piece.kind != "jsonl":
        raise DataError(
            f"{piece.path}: expected lines of JSON (.jsonl, also .gz or .zst) or an array (.json)"
        )
    if not is_array(piece.path):
        return line_rows(_pieces(piece, *_mark("\n")), piece.path)
    return iter(()) if piece.start else array_rows(piece.path)


def _field(row: Any, field: str, where: object) -> str:
    if isinstance(row, dict) and isinstance(row.get(field), str):
        return row[field]
    if isinstance(row, dict) and field not in row:
        found = f"keys {sorted(row)}"
    else:
        found = kind_of(row[field] if isinstance(row, dict) else row)
    raise DataError(f"{where}: expected a text under {field!r}, found {found}; see --field")
