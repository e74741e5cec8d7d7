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
        self._local = threading.local()

    def get(self) -> _core.HfSettings:
        """This thread's settings."""
        try:
            return self._local.settings
        except AttributeError:
            self._local.settings = self._shared
            return self._shared

    def set(self, settings: _core.HfSettings) -> None:
        """Replace this thread's settings."""
        self._local.settings = settings
        if threading.get_ident() == self._owner:
            self._shared = settings
