"""Signals as a request to stop after the current step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

# Ctrl-C; the end asked for by a scheduler or the system; a closed terminal; a scheduler's warning.
# Windows has the first two only.
SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)
]
GRACE_SECONDS = 1.0


class Interrupt:
    """Inside the block, the first of `SIGNALS` sets `requested`; the program goes on.

    Pressing Ctrl-C several times within a second is one request, also when the block has ended
    meanwhile. A later Ctrl-C calls `warn`, and one after that raises `KeyboardInterrupt`. A closed
    terminal is no request where the process was told to ignore it (nohup). Outside the main thread,
    where Python cannot install handlers, `requested` stays False.
    """

    def __init__(self, warn: Callable[[], None] | None = None) -> None:
        self.requested = False
        self.warn = warn
        self._warned = False
        self._last = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        self.requested = self._warned = False
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if previous is None or (previous == signal.SIG_IGN and number != signal.SIGINT):
                    continue
                self._previous[number] = previous
                signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            late = number == signal.SIGINT and self.requested and error is None
            signal.signal(number, self._after_block if late else handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT or not self.requested:
            self._last, self.requested = time.monotonic(), True
        elif self._is_later():
            if self.warn is None or self._warned:
                raise KeyboardInterrupt
            self._warned = True
            self.warn()

    def _after_block(self, number: int, frame: FrameType | None) -> None:
        """Handles Ctrl-C after an interrupted block: a quick repetition is no new request."""
        if self._is_later():
            previous = self._previous[number]
            signal.signal(number, previous)
            if callable(previous):
                previous(number, frame)

    def _is_later(self) -> bool:
        """Whether this Ctrl-C comes `GRACE_SECONDS` or more after the last that counted."""
        now = time.monotonic()
        if now - self._last < GRACE_SECONDS:
            return False
        self._last = now
        return True
