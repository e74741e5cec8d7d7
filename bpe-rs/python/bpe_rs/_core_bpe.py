"""`CoreBPE`: the object behind `Encoding._core_bpe`, which some programs call directly."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from bpe_rs import _core

if TYPE_CHECKING:
    # Not at run time: importing numpy takes longer than importing everything else here.
    import numpy as np
    import numpy.typing as npt


class CoreBPE:
    """Text to ids without tiktoken's checks of special tokens."""

    def __init__(
        self,
        encoder: dict[bytes, int],
        special_tokens_encoder: dict[str, int],
        pattern: str,
    ) -> None:
        self._encoding = _core.Encoding(
            "", pat_str=pattern, mergeable_ranks=encoder, special_tokens=special_tokens_encoder
        )

    @classmethod
    def _of(cls, encoding: _core.Encoding) -> CoreBPE:
        """The `CoreBPE` of an encoding; nothing is copied."""
        core = cls.__new__(cls)
        core._encoding = encoding
        return core

    def encode_ordinary(self, text: str) -> list[int]:
        """Ids of a text, special tokens as plain text."""
        return self._encoding.encode_ordinary(text)

    def encode(self, text: str, allowed_special: AbstractSet[str]) -> list[int]:
        """Ids of a text; only the allowed special tokens are special."""
        return self._encoding.encode(text, allowed_special=allowed_special, disallowed_special=())

    def encode_to_tiktoken_buffer(
        self, text: str, allowed_special: AbstractSet[str]
    ) -> npt.NDArray[np.uint32]:
        """`encode` as a buffer of unsigned 32-bit numbers."""
        return self._encoding.encode_to_numpy(
            text, allowed_special=allowed_special, disallowed_special=()
        )

    def encode_with_unstable(
        self, text: str, allowed_special: AbstractSet[str]
    ) -> tuple[list[int], list[list[int]]]:
        """The ids that stay whatever follows, and the ways to cover the rest."""
        return self._encoding.encode_with_unstable(
            text, allowed_special=allowed_special, disallowed_special=()
        )

    def _encode_bytes(self, bytes: bytes) -> list[int]:
        """Ids of bytes that need not be UTF-8."""
        return self._encoding._encode_bytes(bytes)

    def encode_single_token(self, piece: bytes) -> int:
        """The id of a token; KeyError for bytes that are no token."""
        return self._encoding.encode_single_token(piece)

    def encode_single_piece(self, piece: bytes) -> list[int]:
        """Ids of bytes that the pattern does not cut."""
        return self._encoding._encode_single_piece(piece)

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """Bytes of ids; KeyError for an id that is no token."""
        return self._encoding.decode_bytes(tokens)

    def decode_single_token_bytes(self, token: int) -> bytes:
        """Bytes of one id; KeyError for an id that is no token."""
        return self._encoding.decode_single_token_bytes(token)

    def token_byte_values(self) -> list[bytes]:
        """The bytes of every mergeable token, sorted."""
        return self._encoding.token_byte_values()
