"""Files and folders that appear whole or not at all.

Each is written under a temporary name beside its own, flushed to disk and renamed. Temporary names
are random, so that no two threads, processes or machines write to the same one.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# Names of `temporary_name`, of shards that several processes write, of folders for parts of a text
_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[^.]+\.(tmp|old)|\.(split|encode)-.*")


def temporary_name(path: Path, ending: str = "tmp") -> Path:
    """A name beside `path` that nobody else uses: `.NAME.RANDOM.ENDING`."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.{ending}")


@contextmanager
def named(path: str | Path) -> Iterator[Path]:
    """A temporary name; the file that the block writes there becomes `path` at its end.

    An exception removes the temporary file and leaves `path` as it was; so does a crash, which may
    leave the temporary file behind. An `OSError` about the temporary file names `path`.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        _sync_file(temporary)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    sync_folder(path.parent)


@contextmanager
def file(path: str | Path) -> Iterator[BinaryIO]:
    """`named`, opened for writing."""
    with named(path) as temporary, temporary.open("xb") as out:
        yield out


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file; a crash leaves the old content or the new. One that is equal already stays."""
    with suppress(OSError):
        if Path(path).stat().st_size == len(data) and Path(path).read_bytes() == data:
            return
    with file(path) as out:
        out.write(data)


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder that becomes the folder `path` at the end of the block.

    What was at `path` before is replaced. An exception removes the temporary folder and leaves
    `path` as it was. Only the files directly inside are flushed to disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        for inside in temporary.iterdir():
            if inside.is_file():
                _sync_file(inside)
        take_name(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def take_name(temporary: Path, path: Path) -> None:
    """Rename the folder `temporary` to `path`; what was at `path` before is removed."""
    if path.exists():
        old = temporary_name(path, "old")
        path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old)
    else:
        temporary.rename(path)
    sync_folder(path.parent)


def _sync_file(path: Path) -> None:
    # Windows flushes only handles that may write
    with path.open("r+b") as handle:
        os.fsync(handle.fileno())


def sync_folder(path: Path) -> None:
    """Make renames inside `path` survive a power cut, where the system knows how.

    Windows opens no folders, and some file systems refuse to flush them: the rename itself is done.
    """
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed writers left in `folder` and its folders; nobody may be writing there now.

    What was moved aside, to be replaced, gets its name back unless the replacement has it.
    """
    for path in [*folder.glob(".*"), *folder.glob("*/.*")]:
        found = _LEFTOVER.fullmatch(path.name)
        if found is None:
            continue
        with suppress(OSError):
            target = found["name"] and path.with_name(found["name"])
            if path.suffix == ".old" and target and not target.exists():
                path.rename(target)
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
