"""One writer a run directory, for as long as its process lives."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gptpy.config.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows: there is no such lock, and nothing is refused
    fcntl = None

LOCK = ".lock"


@contextmanager
def only_writer(run_dir: Path) -> Iterator[None]:
    """Hold `run_dir` (made if need be) against other processes, also through another path to it.

    Raises `ConfigError` while one of them holds it. The lock is the system's (`flock`) and goes
    with the process however that ends: the file that is left then holds nobody up. File systems
    that know no locks, and Windows, refuse nobody.
    """
    fresh = not run_dir.exists()
    run_dir.mkdir(parents=True, exist_ok=True)
    handle = _take(run_dir)
    try:
        yield
    finally:
        if handle is not None:
            # Unlinked before it is given back, so that nobody else's can be meant
            (run_dir / LOCK).unlink(missing_ok=True)
            os.close(handle)
        if fresh and not any(run_dir.iterdir()):
            run_dir.rmdir()  # what was refused before it wrote anything leaves nothing


def _take(run_dir: Path) -> int | None:
    """An open handle that holds the lock, or None where there are no locks."""
    if fcntl is None:
        return None
    path = run_dir / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held, there = os.fstat(handle), path.stat()
        except BlockingIOError:
            holder = os.read(handle, 300).decode("utf-8", "replace").strip()
            os.close(handle)
            raise ConfigError(
                f"{run_dir}: another process{holder and f' ({holder})'} is training into this "
                "folder: wait for its end, or take another -o"
            ) from None
        except FileNotFoundError:  # its last holder went, and the file with it: once more
            os.close(handle)
            continue
        except OSError:  # this file system has no locks
            os.close(handle)
            path.unlink(missing_ok=True)
            return None
        if (held.st_dev, held.st_ino) != (there.st_dev, there.st_ino):
            os.close(handle)  # as above, and somebody has made another
            continue
        os.ftruncate(handle, 0)
        os.write(handle, f"pid {os.getpid()} on {platform.node()}".encode())
        return handle
