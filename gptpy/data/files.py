"""A user's files: opened and unpacked, known by their first bytes, found in folders.

Every failure is a `DataError` that names the file.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from gptpy.data.errors import DataError

PACKED = (".gz", ".zst")
READ_BYTES = 1 << 17
# Compressed bytes per call of zstd: one of them may expand to 32 KB, and the output of a whole call
# is held in memory
STEP_BYTES = 1 << 12


def is_packed(path: str | Path) -> bool:
    """Whether a file's name says that it is compressed."""
    return str(path).lower().endswith(PACKED)


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a regular file, unpacked where its name ends in `.gz` or `.zst`.

    Raises `DataError` where there is no such file, where it cannot be read, and for compressed
    bytes that are truncated or damaged. A pipe is refused: it would have to be read twice.
    """
    try:
        with _opened(path) as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: is damaged, or not what its name says: {error}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _opened(path: Path) -> BinaryIO:
    file, name = open_regular(path), path.name.lower()
    if not is_packed(path):
        return file
    file.close()
    return cast(
        BinaryIO,
        gzip.open(path, "rb") if name.endswith(".gz") else io.BufferedReader(Unzstd(path)),
    )


def open_regular(path: Path) -> BinaryIO:
    """A file opened as it is; `DataError` for a directory, a pipe or a device, else `OSError`."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: is a directory, expected a file")
    if not stat.S_ISREG(mode):
        raise DataError(
            f"{path}: is a pipe or a device, expected a file: save its content as one first"
        )
    return path.open("rb")


@dataclass(frozen=True)
class Place:
    """A byte of a file (unpacked), shown as `PATH, line N`: lines are counted when it is shown."""

    path: str
    offset: int

    def __str__(self) -> str:
        return f"{self.path}, line {line_of(self.path, self.offset)}"


def line_of(path: str | Path, offset: int) -> int:
    """The number, from 1, of the line that holds byte `offset` of a file."""
    line = 1
    with open_file(Path(path)) as file:
        while offset > 0 and (block := file.read(min(READ_BYTES, offset))):
            line += block.count(b"\n")
            offset -= len(block)
    return line


class Unzstd(io.RawIOBase):
    """The unpacked bytes of a `.zst` file of any number of frames.

    Raises `EOFError` for a truncated file, which zstandard's own reader takes for the end, and for
    bytes that are not zstd. `DataError` without the zstandard package.
    """

    def __init__(self, path: Path) -> None:
        try:
            import zstandard  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise DataError(
                f"{path}: reading .zst needs zstandard: pip install zstandard"
            ) from None
        self._zstandard = zstandard
        self._file = path.open("rb")
        self._frame = None
        # Views, because slicing one copies nothing. With bytes, every small read would copy all
        # that is left.
        self._packed = self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer) -> int:  # type: ignore[override]
        """Fill `buffer` with the next bytes; returns how many, 0 at the end."""
        while not self._ready:
            self._packed = self._packed or memoryview(self._file.read(READ_BYTES))
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("it ends in the middle of a frame")
                return 0
            self._ready = memoryview(self._unpack())
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _unpack(self) -> bytes:
        """The output of the next compressed bytes; may be empty."""
        if self._frame is None:
            self._frame = self._zstandard.ZstdDecompressor().decompressobj()
        step = self._packed[:STEP_BYTES]
        try:
            unpacked = self._frame.decompress(step)
        except self._zstandard.ZstdError as error:
            raise EOFError(str(error)) from None
        unused = 0
        if self._frame.eof:
            unused = len(self._frame.unused_data)
            self._frame = None
        self._packed = self._packed[len(step) - unused :]
        return unpacked

    def close(self) -> None:
        """Close the file beneath."""
        if not self.closed:
            self._file.close()
        super().close()


# ---- What a file is, by its first bytes

HEAD_BYTES = 1 << 12  # enough to know what a file is
# Byte order marks of other encodings; UTF-32's little-endian one begins with UTF-16's
MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
# Which of four bytes are zero in a text without a mark
ZEROS = {"x0x0": "UTF-16LE", "0x0x": "UTF-16BE", "x000": "UTF-32LE", "000x": "UTF-32BE"}
KINDS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "compressed by gzip (a name in .gz would say so)",
    b"\x28\xb5\x2f\xfd": "compressed by zstd (a name in .zst would say so)",
    b"PAR1": "a Parquet file",
    b"%PDF-": "a PDF file",
    b"\x89PNG": "an image",
    b"GPTPYIDS": "an id file",
}


def refuse_no_text(head: bytes, path: str | Path) -> None:
    """Raise `DataError` where the first bytes of a file show that it is not UTF-8 text."""
    reason = other_encoding(head) or other_kind(head)
    if reason:
        raise DataError(f"{path}: {reason}")


def other_encoding(head: bytes) -> str | None:
    """What to say of a text in UTF-16 or UTF-32, known by its mark or by its zero bytes."""
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return _to_convert(name)
    if len(head) < 4:
        return None
    # Western text has zeros in every second byte, or in three of four, and nowhere else
    zeros = [head[place::4].count(0) / len(head[place::4]) for place in range(4)]
    for pattern, name in ZEROS.items():
        pairs = zip(pattern, zeros, strict=True)
        if all((share > 0.7) if zero == "0" else (share < 0.1) for zero, share in pairs):
            return _to_convert(name)
    return None


def _to_convert(name: str) -> str:
    kind = name[:6]
    return f"is {kind}, expected UTF-8; convert it: iconv -f {name} -t UTF-8 FILE > NEW"


def other_kind(head: bytes) -> str | None:
    """What to say of a file that is no text at all."""
    for magic, name in KINDS.items():
        if head.startswith(magic):
            return f"is {name}, expected a UTF-8 text"
    return binary(head.index(0)) if b"\0" in head else None


def binary(offset: int) -> str:
    """What to say of a file with a zero byte."""
    return f"is binary (byte {offset} is zero); a UTF-8 text is needed"


# ---- The files of a folder

HIDDEN = "hidden (named .something)"
EMPTY = "empty"
UNREADABLE = "not readable"
NO_FILE = "neither a file nor a folder of its own (a link that leads nowhere or away, a pipe)"
BINARY = "binary, though named as text"


def files_of(
    folder: Path, known: Callable[[Path], bool]
) -> tuple[list[Path], dict[str, list[str]]]:
    """The files below `folder` that are `known` by their names, sorted, and what is left out.

    Hidden files and folders are those of programs, such as `._a.txt` or `.ipynb_checkpoints`, which
    hold copies. Linked folders are not entered: they could lead back. Files with names that are not
    known are passed over. The second value: the names left out, by reason.
    """
    found: list[Path] = []
    left_out: dict[str, list[str]] = {}

    def leave(path: str | Path, reason: str) -> None:
        left_out.setdefault(reason, []).append(str(Path(path).relative_to(folder)))

    walk = os.walk(folder, onerror=lambda error: leave(error.filename, UNREADABLE))
    for place, folders, files in walk:
        for name in [name for name in folders if name.startswith(".")]:
            leave(Path(place, name), HIDDEN)
            folders.remove(name)
        for name in folders:
            if Path(place, name).is_symlink():
                leave(Path(place, name), NO_FILE)
        for path in (Path(place, name) for name in files):
            if not known(path):
                continue
            reason = HIDDEN if path.name.startswith(".") else _unusable(path)
            if reason:
                leave(path, reason)
            else:
                found.append(path)
    return sorted(found), {reason: sorted(names) for reason, names in left_out.items()}


def _unusable(path: Path) -> str | None:
    """Why a file cannot be a source; None also for one that the user should mend."""
    if not path.is_file():
        return NO_FILE
    if not os.access(path, os.R_OK):
        return UNREADABLE
    if not path.stat().st_size:
        return EMPTY
    if is_packed(path) or path.suffix.lower() == ".parquet":
        return None
    try:
        with open_file(path) as file:
            head = file.read(HEAD_BYTES)
    except DataError:
        return UNREADABLE
    return BINARY if other_kind(head) and not other_encoding(head) else None


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
