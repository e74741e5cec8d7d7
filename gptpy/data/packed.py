"""Opening files of a user: `.gz` and `.zst` are unpacked, and every failure names the file."""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from collections.abc import Iterator
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
