"""Texts and rows from JSON, Parquet and Hugging Face data sets, with their places for messages.

JSON: one row a line, or the items of one array. Hugging Face: `hf:NAME[@CONFIG][:SPLIT]`, streamed
from the hub or its cache, or `hf:FOLDER[:SPLIT]`, written by `save_to_disk` or with data files that
`load_dataset` understands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from gptpy.data.errors import DataError
from gptpy.data.files import HEAD_BYTES, Place, open_file
from gptpy.data.text import BYTE_ORDER_MARK, decoded, file_blocks

# ---- JSON

# A JSON escape that may be half of a surrogate pair
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE = re.compile(r"[ \t\r\n]*")


def kind_of(value: Any) -> str:
    """What a value of JSON is, for messages."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, dict):
        return f"an object with the keys {sorted(value)}"
    kinds = {str: "a text", list: "a list", int: "a number", float: "a number"}
    return kinds.get(type(value), type(value).__name__)


def line_rows(lines: Iterable[tuple[int, bytes]], path: str) -> Iterator[tuple[Any, Place]]:
    """The parsed rows of `(offset, line)`; blank lines are passed over."""
    for offset, line in lines:
        if not line.strip():
            continue
        where = Place(path, offset)
        text = decoded(line, path, offset)
        try:
            row = json.loads(text)
        except JSONDecodeError as error:
            raise DataError(
                f"{where}: not a line of JSON: {error.msg} at character {error.pos + 1}; expected "
                "an object on each line, or one array of them"
            ) from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not a line of JSON: {error}") from None
        yield _whole_pairs(row, text), where


def is_array(path: str) -> bool:
    """Whether a file of JSON is one array."""
    with open_file(Path(path)) as file:
        while block := file.read(HEAD_BYTES):
            if begin := block.removeprefix(BYTE_ORDER_MARK).lstrip():
                return begin.startswith(b"[")
    return False


def array_rows(path: str) -> Iterator[tuple[Any, str]]:
    """The items of a file that is one JSON array, with their places.

    The file's text is held in memory, one item at a time beside it.
    """
    text = b"".join(file_blocks(Path(path), nul=True)).decode("utf-8")
    parse = json.JSONDecoder().raw_decode
    line, counted, at = 1, 0, _past_space(text, _past_space(text, 0) + 1)  # behind the "["
    more = text[at : at + 1] != "]"
    while more:
        line, counted = line + text.count("\n", counted, at), at
        where = f"{path}, line {line}"
        try:
            row, end = parse(text, at)
        except JSONDecodeError as error:
            line += text.count("\n", counted, error.pos)
            raise DataError(f"{path}, line {line}: not an array of JSON: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not an array of JSON: {error}") from None
        yield _whole_pairs(row, text[at:end]), where
        at = _past_space(text, end)
        more = text[at : at + 1] == ","
        if more:
            at = _past_space(text, at + 1)
    rest = text[_past_space(text, at + 1) :] if text[at : at + 1] == "]" else None
    if rest != "":
        line += text.count("\n", counted, at)
        expected = "a comma or the array's end" if rest is None else "nothing after the array"
        raise DataError(f"{path}, line {line}: not an array of JSON: expected {expected}")


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _whole_pairs(row: Any, text: str) -> Any:
    """`row`, parsed from `text`, with U+FFFD for halves of surrogate pairs.

    JSON can spell such a half, and UTF-8 cannot.
    """
    if not _HALF.search(text):
        return row
    pairs = json.dumps(row, ensure_ascii=False).encode("utf-16", "surrogatepass")
    return json.loads(pairs.decode("utf-16", "replace"))


# ---- Parquet


def parquet_texts(path: Path, field: str) -> Iterator[str]:
    """The texts of the column `field`; `DataError` for a damaged file and for rows without text."""
    try:
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(f"{path}: parquet needs pyarrow: pip install 'gptpy-lm[parquet]'") from None
    row = 0
    try:
        file = pyarrow.parquet.ParquetFile(path)
        if field not in file.schema_arrow.names:
            raise DataError(
                f"{path}: no column {field!r}, found {file.schema_arrow.names}; see --field"
            )
        for batch in file.iter_batches(columns=[field]):
            for value in batch.column(0):
                yield _cell(value, f"{path}: column {field!r}, row {row}")
                row += 1
    # The library raises errors of its own and of the system, and others for damaged bytes
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as parquet, from row {row} on: {reason}") from None


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


# ---- Hugging Face


def count_parts(spec: str, slice_bytes: int) -> int:
    """How many parts the data set can be cut into: its files, or `slice_bytes` of rows each."""
    found = _open_dataset(spec)
    if hasattr(found, "num_shards") and not hasattr(found, "data"):
        return max(1, found.num_shards)  # streamed: file by file
    return max(1, min(len(found), -(-found.data.nbytes // slice_bytes)))


def rows_of_part(spec: str, part: int, count: int) -> Iterator[Any]:
    """The rows of part `part` of `count`."""
    found = _open_dataset(spec)
    if count > 1:
        found = found.shard(count, part)
    return iter(found)


def absolute_spec(spec: str) -> str:
    """`spec` with an absolute path, so that it means the same in any working directory."""
    place, split = _name_and_split(spec)
    return f"hf:{Path(place).resolve()}:{split}" if Path(place).exists() else spec


def _open_dataset(spec: str) -> Any:
    """The data set's split. Raises `DataError`; for an unknown split it names those there are."""
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(f"{spec}: needs the datasets package: pip install 'gptpy-lm[hf]'") from None
    place, split = _name_and_split(spec)
    try:
        if (Path(place) / "state.json").is_file() or (Path(place) / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(place)
        elif Path(place).exists():
            found = datasets.load_dataset(place, streaming=True)
        else:
            name, _, config = place.partition("@")
            found = datasets.load_dataset(name, config or None, streaming=True)
    # No network, an unknown name, a missing configuration, an unreadable file: each library beneath
    # raises its own class, and its message says what is wrong
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{spec}: cannot be opened: {first}") from None
    if not isinstance(found, dict):
        return found  # saved without splits
    if split not in found:
        raise DataError(
            f"{spec}: has no split {split!r}, there are {', '.join(map(str, found))}: "
            f"say hf:{place}:SPLIT"
        )
    return found[split]


def _name_and_split(spec: str) -> tuple[str, str]:
    """`(name or folder, split)`; colons in the path of a folder that exists belong to the path."""
    place = spec.removeprefix("hf:")
    if Path(place).exists() or ":" not in place:
        return place, "train"
    place, _, split = place.rpartition(":")
    return place, split or "train"
