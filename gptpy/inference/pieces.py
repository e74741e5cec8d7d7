"""Text from ids as they come: a piece is given out when later tokens can no longer change it."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Protocol


class Decodes(Protocol):
    """What is needed of a tokenizer."""

    def decode_bytes(self, tokens: Sequence[int]) -> bytes: ...


class TextPieces:
    """The text of one sequence. Without a tokenizer it is empty.

    Held back are a character of several tokens until it is complete (malformed bytes become
    U+FFFD), and what may be the beginning of one of the strings `stop`.
    """

    def __init__(self, tokenizer: Decodes | None, stop: Sequence[str] = ()) -> None:
        self.tokenizer, self.stop = tokenizer, stop
        self.stopped_by: str | None = None
        """The stop string that was found; the text ends before it."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def add(self, token: int, *, may_stop: bool = True) -> str:
        """Takes a token; returns what is certain now. Without `may_stop` nothing ends the text."""
        if self.tokenizer is None:
            return ""
        self._held += self._decoder.decode(bytes_of(self.tokenizer, token))
        if not may_stop:
            return self._release(0)
        found = [(at, s) for s in self.stop if (at := self._held.find(s)) >= 0]
        if found:
            at, self.stopped_by = min(found)
            self._held = self._held[:at]
            return self._release(0)
        return self._release(held_back(self._held, self.stop))

    def finish(self) -> str:
        """What was held back, when no token follows."""
        if self.stopped_by is None:
            self._held += self._decoder.decode(b"", final=True)
        return self._release(0)

    def _release(self, keep: int) -> str:
        cut = len(self._held) - keep
        piece, self._held = self._held[:cut], self._held[cut:]
        return piece


def bytes_of(tokenizer: Decodes, token: int) -> bytes:
    """The bytes of an id; none where the vocabulary has a gap or the model's is padded."""
    try:
        return tokenizer.decode_bytes([token])
    except KeyError:
        return b""


def held_back(text: str, stop: Sequence[str]) -> int:
    """How many of the last characters may be the beginning of a stop string."""
    longest = 0
    for s in stop:
        for n in range(min(len(s) - 1, len(text)), longest, -1):
            if text.endswith(s[:n]):
                longest = n
                break
    return longest


def token_text(tokenizer: Decodes, token: int) -> str:
    """The text of one token; bytes that are part of a character become U+FFFD."""
    return bytes_of(tokenizer, token).decode("utf-8", errors="replace")
