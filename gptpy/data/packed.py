"""Files that may be compressed: `.gz` and `.zst` are opened like plain ones."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from gptpy.data.errors import DataError

PACKED = (".gz", ".zst")
READ_BYTES = 1 << 17
# Compressed bytes per call of zstd: one of them may expand to 32 KB, and the output of a whole call
# is held in memory
STEP_BYTES = 1 << 12


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where its name ends in `.gz` or `.zst`.

    Raises `DataError` for compressed bytes that are truncated or damaged.
    """
    try:
        with _opened(path) as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: is damaged, or not what its name says: {error}") from None


def _opened(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return cast(BinaryIO, io.BufferedReader(Unzstd(path)))
    return path.open("rb")


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
