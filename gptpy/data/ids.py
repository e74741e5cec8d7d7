"""Id files: token ids on disk with a header that says what they are.

Layout, 64 bytes and then the ids, all little-endian: magic `GPTPYIDS`, version (u32), bytes per id
(u32: 2 or 4), byte-order mark 0x01020304 (u32), reserved (u32), count (u64), the tokenizer's
fingerprint (32 bytes of SHA-256). The Rust encoder writes the same (`bpe-rs/src/format/`).
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

import numpy as np

from gptpy.data.errors import DataError
from gptpy.data.files import open_regular
from gptpy.storage import atomic

MAGIC = b"GPTPYIDS"
VERSION = 1
BYTE_ORDER = 0x01020304
HEADER = struct.Struct("<8sIIIIQ32s")
# At most this many blocks of ids of this length are read to know a data set by
DIGEST_BLOCK, DIGEST_BLOCKS = 1 << 14, 1 << 10
DTYPES = {2: np.dtype("<u2"), 4: np.dtype("<u4")}


@dataclass(frozen=True)
class IdFile:
    """An opened id file: `ids` is a read-only memory map."""

    path: Path
    ids: np.ndarray
    fingerprint: str


def dtype_for(vocab_size: int) -> np.dtype:
    """The smallest id type that holds a vocabulary: two bytes end at 65,536 ids."""
    return DTYPES[2] if vocab_size <= 1 << 16 else DTYPES[4]


def pack_header(dtype: np.dtype, count: int, fingerprint: str) -> bytes:
    """The 64 bytes before the ids."""
    return HEADER.pack(
        MAGIC, VERSION, dtype.itemsize, BYTE_ORDER, 0, count, bytes.fromhex(fingerprint)
    )


def open_ids(path: str | Path, *, fingerprint: str | None = None) -> IdFile:
    """Map an id file, checking its header and size.

    Raises `DataError` when the file is no id file, was cut, has another byte order or version, or
    (with `fingerprint`) was written by another tokenizer.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            head = file.read(HEADER.size)
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        raise DataError(
            f"{path}: no id file (expected the magic {MAGIC.decode()}, found {head[:8]!r}); "
            "write one with `gptpy prepare`"
        )
    _, version, width, order, _, count, digest = HEADER.unpack(head)
    if order != BYTE_ORDER:
        raise DataError(f"{path}: byte order mark {order:#010x}, expected {BYTE_ORDER:#010x}")
    if version != VERSION:
        raise DataError(f"{path}: id file version {version}, this gptpy reads {VERSION}")
    if width not in DTYPES:
        raise DataError(f"{path}: {width} bytes per id, expected 2 or 4")
    expected = HEADER.size + count * width
    if size != expected:
        raise DataError(
            f"{path}: the header promises {count} ids of {width} bytes = {expected} bytes, the "
            f"file has {size}; it was cut or is still being written: prepare it again"
        )
    if fingerprint is not None and digest.hex() != fingerprint:
        raise DataError(
            f"{path}: written with tokenizer {digest.hex()[:12]}, but the tokenizer given is "
            f"{fingerprint[:12]}: prepare the data with this tokenizer, or use the other one"
        )
    if count == 0:
        return IdFile(path, np.empty(0, DTYPES[width]), digest.hex())
    ids = np.memmap(path, dtype=DTYPES[width], mode="r", offset=HEADER.size, shape=(count,))
    return IdFile(path, ids, digest.hex())


def spans(
    shards: Sequence[np.ndarray], starts: np.ndarray, start: int, count: int
) -> Iterator[np.ndarray]:
    """The parts of `shards`, joined, that hold `count` ids from `start` on.

    `starts`: where each shard begins in the joined sequence, and its end, `(len(shards) + 1,)`.
    """
    shard = int(np.searchsorted(starts, start, side="right")) - 1
    while count:
        local = start - int(starts[shard])
        part = shards[shard][local : local + count]
        yield part
        start, count, shard = start + len(part), count - len(part), shard + 1


def digest_of(shards: Sequence[np.ndarray]) -> str:
    """What the ids of `shards`, joined, are known by, in hex; their type does not matter.

    All of them count up to some ten million. Of more, evenly spaced blocks do, so that opening a
    data set stays quick: other data are found, a change of a few ids may not be.
    """
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    total = int(starts[-1])
    digest = blake2b(str(total).encode(), digest_size=16)
    first = range(0, total, DIGEST_BLOCK)
    if len(first) > DIGEST_BLOCKS:
        last = total - DIGEST_BLOCK
        first = [last * place // (DIGEST_BLOCKS - 1) for place in range(DIGEST_BLOCKS)]
    for start in first:
        for part in spans(shards, starts, start, min(DIGEST_BLOCK, total - start)):
            digest.update(part.astype("<u4").tobytes())
    return digest.hexdigest()


class IdWriter:
    """Write an id file piece by piece; it appears, whole, under its name at the end.

    `with IdWriter(path, dtype, fingerprint) as out: out.write(ids)`. An exception leaves no file.
    """

    def __init__(self, path: str | Path, dtype: np.dtype, fingerprint: str) -> None:
        self.path = Path(path)
        self.dtype = np.dtype(dtype)
        self.fingerprint = fingerprint
        self.count = 0
        self._open = ExitStack()

    def write(self, ids: np.ndarray) -> None:
        """Append a one-dimensional integer array; `DataError` if an id does not fit the type."""
        if len(ids) and ids.dtype != self.dtype:
            low, high = int(ids.min()), int(ids.max())
            top = np.iinfo(self.dtype).max
            if low < 0 or high > top:
                raise DataError(
                    f"{self.path}: ids {low}..{high} do not fit {self.dtype.itemsize} bytes "
                    f"(0..{top})"
                )
        np.ascontiguousarray(ids, dtype=self.dtype).tofile(self._file)
        self.count += len(ids)

    def write_file(self, path: Path) -> None:
        """Append the ids of an id file of the same type and tokenizer, with bounded memory."""
        ids = open_ids(path, fingerprint=self.fingerprint).ids
        if ids.dtype != self.dtype:
            raise DataError(f"{path}: holds ids of type {ids.dtype}, expected {self.dtype}")
        with path.open("rb") as file:
            file.seek(HEADER.size)
            shutil.copyfileobj(file, self._file, 1 << 20)
        self.count += len(ids)

    def __enter__(self) -> IdWriter:
        self._file = self._open.enter_context(atomic.file(self.path))
        self._file.write(bytes(HEADER.size))
        self._open.push(self._write_header)
        return self

    def _write_header(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.seek(0)
            self._file.write(pack_header(self.dtype, self.count, self.fingerprint))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)
