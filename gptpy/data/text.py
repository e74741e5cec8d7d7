"""One text: read in checked blocks, cut in two, or taken from the cache when none is given."""

from __future__ import annotations

import codecs
import hashlib
import os
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from gptpy.data.errors import DataError
from gptpy.data.files import HEAD_BYTES, binary, is_packed, line_of, open_file, refuse_no_text
from gptpy.storage import atomic

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
READ_BYTES = 1 << 22
SHAKESPEARE = "tinyshakespeare.txt"
SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


@dataclass(frozen=True)
class Text:
    """A text in memory and its name; `note` says why it is a substitute, where it is one."""

    data: bytes
    name: str
    note: str | None = None


def decoded(data: bytes, path: str | Path, offset: int = 0) -> str:
    """`data`, which stands at byte `offset` of `path`, as text; `DataError` if it is not UTF-8."""
    return _decode(data, path, offset, final=True)[0]


def _decode(data: bytes, path: str | Path, offset: int, *, final: bool) -> tuple[str, int]:
    """The text of `data` and how many bytes it took; unless `final`, a last character may wait."""
    try:
        return codecs.utf_8_decode(data, "strict", final)
    except UnicodeDecodeError as error:
        at = offset + error.start
        raise DataError(
            f"{path}: is not UTF-8: byte {at} is {data[error.start]:#04x}{_in_line(path, at)}; "
            "convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
        ) from None


def _in_line(path: str | Path, offset: int) -> str:
    try:
        return f" (line {line_of(path, offset)})"
    except DataError:  # what was read is not a file of that name
        return ""


def text_blocks(
    file: BinaryIO, path: str | Path, offset: int = 0, begin: bytes = b""
) -> Iterator[bytes]:
    """The rest of an opened text, from byte `offset` on, in blocks that end between characters.

    `begin`: bytes at `offset` that have been read already. A block has some megabytes. Raises
    `DataError` naming `path` and the byte that is not UTF-8.
    """
    carry = begin
    while block := file.read(READ_BYTES):
        block = carry + block
        _, size = _decode(block, path, offset, final=False)
        if size:
            yield block[:size]
        offset, carry = offset + size, block[size:]
    _decode(carry, path, offset, final=True)
    if carry:
        yield carry


def file_blocks(path: Path, *, nul: bool = False) -> Iterator[bytes]:
    """The text of a file, unpacked, in checked blocks; a byte order mark is left out.

    Raises `DataError` for what is not UTF-8 text. A zero byte is none, but with `nul` only the
    first kilobytes are looked at.
    """
    with open_file(path) as file:
        head = file.read(HEAD_BYTES)
        refuse_no_text(head, path)
        offset = len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0
        for block in text_blocks(file, path, offset, head[offset:]):
            if not nul and b"\0" in block:
                raise DataError(f"{path}: {binary(offset + block.index(0))}")
            offset += len(block)
            yield block


def begins_with_mark(path: Path) -> bool:
    """Whether a file begins with UTF-8's byte order mark."""
    with open_file(path) as file:
        return file.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK


@contextmanager
def without_marks(paths: Sequence[Path], folder: Path) -> Iterator[list[Path]]:
    """Files with these texts for readers that keep a byte order mark: copies where one stands.

    The copies lie in a temporary folder inside `folder`.
    """
    with TemporaryDirectory(dir=folder, prefix=".texts-") as temporary:
        found = []
        for number, path in enumerate(paths):
            if begins_with_mark(path):
                name = path.stem if is_packed(path) else path.name
                copy = Path(temporary, f"{number}-{name}")
                copy_text(path, copy)
                path = copy
            found.append(path)
        yield found


def check_text(path: str | Path) -> int:
    """The size in bytes of a UTF-8 text file, byte order mark left out; errors as `read_text`."""
    return sum(map(len, _checked_blocks(Path(path))))


def read_text(path: str | Path) -> bytes:
    """The bytes of a UTF-8 text file, unpacked, byte order mark left out.

    Raises `DataError` with one line when the file is missing, a directory, unreadable, empty,
    binary or not UTF-8.
    """
    return b"".join(_checked_blocks(Path(path)))


def copy_text(text: Text | Path, target: Path) -> None:
    """Write a text to a file, byte order mark left out; errors as `read_text`."""
    with atomic.file(target) as out:
        for block in [text.data] if isinstance(text, Text) else _checked_blocks(text):
            out.write(block)


def _checked_blocks(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        raise DataError(
            f"{path}: is a directory; give one text file (`gptpy prepare` reads directories)"
        )
    empty = True
    for block in file_blocks(path):
        empty = False
        yield block
    if empty:
        raise DataError(f"{path}: is empty")


def split_text(data: bytes, fraction: float = 0.9) -> tuple[bytes, bytes]:
    """Training and validation bytes, cut at `int(fraction * n)` or the next character's start."""
    cut = int(fraction * len(data))
    cut += _bytes_to_next_character(data[cut : cut + 4])
    return data[:cut], data[cut:]


def split_file(path: Path, tail: Path, fraction: float) -> None:
    """Cut a text file as `split_text` does: its end moves to `tail`, `path` keeps its beginning."""
    cut = int(fraction * path.stat().st_size)
    with path.open("r+b") as file, tail.open("wb") as rest:
        file.seek(cut)
        cut += _bytes_to_next_character(file.read(4))
        file.seek(cut)
        while block := file.read(READ_BYTES):
            rest.write(block)
        file.truncate(cut)


def _bytes_to_next_character(data: bytes) -> int:
    """How many bytes of `data`, 4 or up to the text's end, still belong to a character before."""
    inside = 0
    while inside < len(data) and data[inside] & 0xC0 == 0x80:
        inside += 1
    return inside


def default_text(*, download: bool = True) -> Text:
    """Tiny Shakespeare, or the prose that comes with CPython where it cannot be had.

    Looks in `$GPTPY_DATA_DIR`, then in gptpy's cache folder, then downloads into the cache. A file
    counts only with the published sha256.
    """
    problems = []
    folder = os.environ.get("GPTPY_DATA_DIR")
    cached = cache_folder() / SHAKESPEARE
    for path in ([Path(folder) / SHAKESPEARE] if folder else []) + [cached]:
        if not path.is_file():
            continue
        data = read_text(path)
        if hashlib.sha256(data).hexdigest() == SHAKESPEARE_SHA256:
            return Text(data, "Tiny Shakespeare")
        problems.append(f"{path} has another sha256")
    if download:
        try:
            data = _download(SHAKESPEARE_URL, SHAKESPEARE_SHA256)
        except (OSError, ValueError) as error:
            problems.append(f"download failed: {error}")
        else:
            _keep(cached, data)
            return Text(data, "Tiny Shakespeare")
    reason = "; ".join(problems) or "not found"
    return Text(
        python_prose(),
        "Python's own documentation",
        f"Tiny Shakespeare is not to be had ({reason}): training on the prose that ships with "
        "Python instead. Put tinyshakespeare.txt into $GPTPY_DATA_DIR to use it.",
    )


def cache_folder() -> Path:
    """Where downloads are kept: `$XDG_CACHE_HOME/gptpy` or `~/.cache/gptpy`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gptpy"


def python_prose() -> bytes:
    """About half a megabyte of English: the help topics in every CPython."""
    from pydoc_data.topics import topics

    return "\n\n".join(text for _, text in sorted(topics.items())).encode("utf-8")


def _download(url: str, sha256: str, timeout: float = 10.0, limit: int = 1 << 24) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as response:
        data = response.read(limit)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{url} has sha256 {found[:12]}, expected {sha256[:12]}")
    return data


def _keep(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, data)
    except OSError:
        pass  # without a writable cache the next run downloads again, nothing more
