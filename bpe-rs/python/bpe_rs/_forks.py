"""Locks that survive `os.fork`."""

from __future__ import annotations

import os
import threading


def fork_safe_lock() -> threading.RLock:
    """A reentrant lock that no forked child finds held by a thread that the child does not have.

    A fork waits until the lock is free. For modules: it is registered as long as the process lives.
    """
    lock = threading.RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock
