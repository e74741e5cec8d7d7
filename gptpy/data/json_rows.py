"""Rows of JSON: one a line, or the items of one array; each with its place for error messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from gptpy.data.errors import DataError
from gptpy.data.kinds import HEAD_BYTES
from gptpy.data.packed import Place, open_file
from gptpy.data.text import BYTE_ORDER_MARK, decoded, file_blocks

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
