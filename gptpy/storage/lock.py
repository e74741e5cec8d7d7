"""One writer a run directory: a lock that ends with the process that holds it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gptpy.config.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows has no flock: there every writer is admitted
    fcntl = None

LOCK = ".lock"


@contextmanager
def only_writer(run_dir: Path) -> Iterator[None]:
    """Lock `run_dir` (made if need be) against other processes, also through another path to it.

    Raises `ConfigError` while another process holds the lock. The lock is the system's (`flock`)
    and ends with the process, however that ends; the file it may leave behind blocks nobody. On
    Windows, and on file systems without locks, every process is admitted.
    """
    fresh = not run_dir.exists()
    run_dir.mkdir(parents=True, exist_ok=True)
    handle = _take(run_dir)
    try:
        yield
    finally:
        if handle is not None:
            # Unlink before unlocking: afterwards the file could be another process's
            with suppress(OSError):  # the disk may have become read-only meanwhile
                (run_dir / LOCK).unlink(missing_ok=True)
            os.close(handle)
        if fresh and not any(run_dir.iterdir()):
            run_dir.rmdir()  # a job that was refused before it wrote anything leaves nothing


def _take(run_dir: Path) -> int | None:
    """An open handle that holds the lock, or None where there are no locks."""
    if fcntl is None:
        return None
    path = run_dir / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours, on_disk = os.fstat(handle), path.stat()
        except BlockingIOError:
            holder = os.read(handle, 300).decode("utf-8", "replace").strip()
            os.close(handle)
            raise ConfigError(
                f"{run_dir}: another process{holder and f' ({holder})'} is training into this "
                "folder: wait for its end, or take another -o"
            ) from None
        except FileNotFoundError:  # the last holder unlinked the file after we had opened it
            os.close(handle)
            continue
        except OSError:  # this file system has no locks
            os.close(handle)
            path.unlink(missing_ok=True)
            return None
        if (ours.st_dev, ours.st_ino) != (on_disk.st_dev, on_disk.st_ino):
            os.close(handle)  # as above, and another process has made a new one
            continue
        with suppress(OSError):  # a full disk still locks
            os.ftruncate(handle, 0)
            os.write(handle, f"pid {os.getpid()} on {platform.node()}".encode())
        return handle
