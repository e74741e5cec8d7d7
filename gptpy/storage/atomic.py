"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def file(path: str | Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path`, opened for writing, that takes its name at the end.

    What was at `path` before is replaced. An exception, also one of the disk, removes the temporary
    file and leaves `path` as it was; so does a crash, but for the temporary file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with file(path) as out:
        out.write(data)


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name at the end of the block.

    What was at `path` before is replaced. An exception removes the temporary folder and leaves
    `path` as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        take_name(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def take_name(temporary: Path, path: Path) -> None:
    """Rename the folder `temporary` to `path`; what was at `path` before is removed."""
    if path.exists():
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old)
    else:
        temporary.rename(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames inside `path` survive a power cut, where the system knows how."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
