"""Truncation, padding and the treatment of special tokens, one copy a thread.

`transformers` sets truncation and padding on the tokenizer before every call. If threads shared
them, a call in one thread could be truncated by the settings of another. So each thread has its
own copy, which begins as the tokenizer's when the thread first uses it; only the thread that made
the tokenizer also sets the tokenizer's.
"""

from __future__ import annotations

import threading

from bpe_rs import _core


class ThreadSettings:
    """The settings of each thread."""

    def __init__(self, settings: _core.HfSettings) -> None:
        self._shared = settings
        self._owner = threading.get_ident()
        # Has the attribute `settings` in threads that have used the tokenizer.
        self.local = threading.local()

    def get(self) -> _core.HfSettings:
        """This thread's settings."""
        try:
            return self.local.settings
        except AttributeError:
            self.local.settings = self._shared
            return self._shared

    def set(self, settings: _core.HfSettings) -> None:
        """Replace this thread's settings."""
        self.local.settings = settings
        if threading.get_ident() == self._owner:
            self._shared = settings
