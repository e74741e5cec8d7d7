"""Text of tokens that arrive one by one: `Encoding.decode_stream`."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpe_rs._encoding import Encoding


class DecodeStream:
    """Text of tokens that arrive one by one, never with half a character in it.

    >>> import bpe_rs
    >>> encoding = bpe_rs.get_encoding("gpt2")
    >>> stream = encoding.decode_stream()
    >>> [stream.push(token) for token in encoding.encode("Hi 好")]
    ['Hi', ' ', '', '好']
    >>> stream.finish()
    ''
    """

    def __init__(self, encoding: Encoding, errors: str = "replace") -> None:
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def push(self, token: int) -> str:
        """The text that this token completes. Raises `KeyError` for an unknown id."""
        return self._decoder.decode(self._encoding.decode_single_token_bytes(token))

    def finish(self) -> str:
        """The text of bytes that never became a character, as `errors` says."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text
