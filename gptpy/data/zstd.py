"""Reading .zst files, noticing where they were cut."""

from __future__ import annotations

import io
from pathlib import Path

from gptpy.data.ids import DataError

READ_BYTES = 1 << 17
# Unpacked at a time: zstd makes up to 32 KB of a byte, and all of a step's output is held
STEP_BYTES = 1 << 12


class Unzstd(io.RawIOBase):
    """The unpacked bytes of a .zst file of any number of frames.

    zstandard's own reader takes a cut for the end; this one raises `EOFError`, which it also does
    for bytes that are not zstd. `DataError` without the package.
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
        # Views, of which taking the front copies nothing: else a file would be copied once for
        # every small read of it
        self._packed = self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer) -> int:  # type: ignore[override]
        """Fill `buffer` with what comes next; 0 at the end."""
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
        """What the next packed bytes hold; maybe nothing yet."""
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
