"""Text of tokens that arrive one by one, as `tokenizers.decoders.DecodeStream` gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpe_rs.hf._tokenizer import Tokenizer


class DecodeStream:
    """`step(tokenizer, id)` returns the text that a token completes, or None.

    `ids`: tokens that come before, whose text is not returned.

    >>> import json
    >>> from bpe_rs.hf import Tokenizer
    >>> file = {"model": {"type": "BPE", "vocab": {"Ã": 0, "©": 1}, "merges": []}}
    >>> byte_level = {"type": "ByteLevel", "add_prefix_space": False}
    >>> file |= {"pre_tokenizer": byte_level, "decoder": byte_level}
    >>> tokenizer, stream = Tokenizer.from_str(json.dumps(file)), DecodeStream()
    >>> stream.step(tokenizer, 0), stream.step(tokenizer, 1)
    (None, 'é')
    """

    def __init__(self, ids: Sequence[int] | None = None, skip_special_tokens: bool = False) -> None:
        self._ids = list(ids or ())
        self._skip_special_tokens = skip_special_tokens
        # The text of the ids that are kept as context, and how many they are.
        self._prefix = ""
        self._prefix_length = 0

    def __copy__(self) -> DecodeStream:
        """One that goes on from here by itself."""
        other = DecodeStream(self._ids, self._skip_special_tokens)
        other._prefix, other._prefix_length = self._prefix, self._prefix_length
        return other

    def step(self, tokenizer: Tokenizer, id: int | Sequence[int]) -> str | None:
        """The text that `id`, or several of them, complete; None as long as there is none.

        Raises ValueError where the tokens change text that was returned before.
        """
        text = self._text(tokenizer)
        if not self._prefix and self._ids and not text.endswith("\ufffd"):
            self._prefix, self._prefix_length = text, len(self._ids)
        self._ids += [id] if isinstance(id, int) else id
        text = self._text(tokenizer)
        is_longer = len(text.encode()) > len(self._prefix.encode())
        if not is_longer or text.endswith("\ufffd"):
            return None
        if not text.startswith(self._prefix):
            raise ValueError(f"expected text that continues {self._prefix!r}, got {text!r}")
        complete = text[len(self._prefix) :]
        del self._ids[: self._prefix_length]
        self._prefix, self._prefix_length = self._text(tokenizer), len(self._ids)
        return complete

    def _text(self, tokenizer: Tokenizer) -> str:
        return tokenizer.decode(self._ids, self._skip_special_tokens)
