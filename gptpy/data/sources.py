"""Documents from txt, jsonl and parquet files, packed or not, folders, Hugging Face data sets.

A source is cut into slices that can be read, and prepared, independently of each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptpy.data import hugging_face
from gptpy.data.errors import DataError
from gptpy.data.packed import PACKED, open_file
from gptpy.data.text import decoded, text_blocks

SUFFIXES = {
    ".txt": "text",
    ".md": "text",
    ".text": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
READ_BYTES = 1 << 22
# A JSON escape that may be half of a surrogate pair
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


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
    sources: Sequence[str], slice_bytes: int = 1 << 28, *, separator: str | None = None
) -> list[Slice]:
    """All slices of files, folders (searched recursively) and `hf:` data sets, in a fixed order.

    A text file is cut only at a `separator` that cannot overlap itself. With "\\n\\n", say, where a
    run of newlines is cut depends on where reading begins, so slices would disagree.

    Raises `DataError` for a source that does not exist or that nothing here can read.
    """
    slices: list[Slice] = []
    for source in sources:
        if source.startswith("hf:"):
            parts = hugging_face.count_shards(source, slice_bytes)
            slices += [Slice(source, "hf", part, part + 1, parts) for part in range(parts)]
            continue
        path = Path(source)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and _kind(p))
            if not found:
                raise DataError(f"{path}: no {', '.join(SUFFIXES)} file (or .gz, .zst) inside")
        elif path.is_file():
            found = [path]
        else:
            raise DataError(f"{path}: no such file or folder")
        for file in found:
            slices.extend(_cut(file, slice_bytes, separator))
    return slices


def _kind(path: Path) -> str | None:
    name = path.with_suffix("") if path.suffix in PACKED else path
    return SUFFIXES.get(name.suffix.lower())


def _cut(path: Path, slice_bytes: int, separator: str | None) -> list[Slice]:
    kind, size = _kind(path), path.stat().st_size
    if kind is None:
        raise DataError(
            f"{path}: unknown kind of file; known are {', '.join(SUFFIXES)}, each also as .gz, .zst"
        )
    whole = kind == "parquet" or path.suffix in PACKED or size <= slice_bytes
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


def documents(piece: Slice, *, field: str = "text", separator: str | None = None) -> Iterator[str]:
    """The texts of a slice, empty ones left out.

    jsonl and parquet give `field` of each row. A text file is one document, or several with
    `separator` between them. Raises `DataError`, naming the file and the place in it, for bytes
    that are not UTF-8, lines that are not JSON and rows without the field.
    """
    if piece.kind == "hf":
        rows = hugging_face.rows(piece.path, piece.start, piece.size)
        found = (_field(row, field, piece.path) for row in rows)
    elif piece.kind == "parquet":
        found = _parquet(Path(piece.path), field)
    elif piece.kind == "jsonl":
        found = _jsonl(piece, field)
    else:
        found = _text(piece, separator)
    return (text for text in found if text)


def _pieces(piece: Slice, mark: bytes) -> Iterator[tuple[int, bytes]]:
    """`(offset, bytes)` of each piece between marks that begins inside the slice.

    A piece that begins inside is read to its end, behind the slice's; one that began before it
    belongs to the slice before. So every piece belongs to exactly one slice.
    """
    with open_file(Path(piece.path)) as file:
        packed = piece.path.endswith(PACKED)
        offset = piece.start
        carry = b""
        if offset:
            # A piece begins here only if a mark ends here; otherwise after the next mark
            offset = max(0, offset - len(mark))
            file.seek(offset)
            while (at := carry.find(mark)) < 0:
                more = file.read(READ_BYTES)
                if not more:
                    return
                drop = max(0, len(carry) - len(mark) + 1)
                offset, carry = offset + drop, carry[drop:] + more
            offset, carry = offset + at + len(mark), carry[at + len(mark) :]
        searched = 0
        while packed or offset < piece.end:
            at = carry.find(mark, searched)
            if at >= 0:
                yield offset, carry[:at]
                offset, carry, searched = offset + at + len(mark), carry[at + len(mark) :], 0
                continue
            searched = max(0, len(carry) - len(mark) + 1)
            more = file.read(READ_BYTES)
            if not more:
                if carry:
                    yield offset, carry
                return
            carry += more


def _text(piece: Slice, separator: str | None) -> Iterator[str]:
    if separator:
        for offset, data in _pieces(piece, separator.encode("utf-8")):
            yield decoded(data, piece.path, offset)
    elif piece.start == 0:
        yield b"".join(file_blocks(piece)).decode("utf-8")


def file_blocks(piece: Slice) -> Iterator[bytes]:
    """The text of a slice that is a whole text file, in checked blocks of some megabytes."""
    with open_file(Path(piece.path)) as file:
        yield from text_blocks(file, piece.path)


def _jsonl(piece: Slice, field: str) -> Iterator[str]:
    return (_field(row, field, where) for row, where in json_rows(piece))


def json_rows(piece: Slice) -> Iterator[tuple[Any, str]]:
    """Each line of a slice of JSON lines, parsed, with its place for error messages."""
    if piece.kind != "jsonl":
        raise DataError(f"{piece.path}: expected lines of JSON (.jsonl, also .gz or .zst)")
    for offset, line in _pieces(piece, b"\n"):
        if not line.strip():
            continue
        where = f"{piece.path}, byte {offset}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not a line of JSON: {error}") from None
        if _HALF.search(line):
            row = _without_half_pairs(row)
        yield row, where


def _without_half_pairs(row: Any) -> Any:
    """`row` with U+FFFD for halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    text = json.dumps(row, ensure_ascii=False).encode("utf-16", "surrogatepass")
    return json.loads(text.decode("utf-16", "replace"))


def _field(row: Any, field: str, where: str) -> str:
    if not isinstance(row, dict) or not isinstance(row.get(field), str):
        keys = f"keys {sorted(row)}" if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{where}: expected a text under {field!r}, found {keys}; see --field")
    return row[field]


def _parquet(path: Path, field: str) -> Iterator[str]:
    try:
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(f"{path}: parquet needs pyarrow: pip install 'gptpy-lm[parquet]'") from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except Exception as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from None
    if field not in file.schema_arrow.names:
        raise DataError(
            f"{path}: no column {field!r}, found {file.schema_arrow.names}; see --field"
        )
    row = 0
    for batch in file.iter_batches(columns=[field]):
        for value in batch.column(0):
            yield _cell(value, f"{path}: column {field!r}, row {row}")
            row += 1


def _cell(value: Any, where: str) -> str:
    """The text of an Arrow scalar: a string, or bytes in UTF-8, in any of Arrow's layouts."""
    try:
        text = value.as_py()
        text = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:  # Arrow does not check its strings when it reads them
        raise DataError(
            f"{where} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        ) from None
    if not isinstance(text, str):
        raise DataError(f"{where} is no text: {text!r}")
    return text
