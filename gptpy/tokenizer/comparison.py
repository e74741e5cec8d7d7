"""Two tokenizers on the same text: how many tokens each needs, and how many they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


class Comparable(Protocol):
    """A byte-level tokenizer, such as `bpe_rs.Encoding`."""

    @property
    def name(self) -> str: ...
    @property
    def n_vocab(self) -> int: ...
    @property
    def encode_ordinary(self) -> Callable[[str], Sequence[int]]: ...
    def token_byte_values(self) -> list[bytes]: ...
    def decode_single_token_bytes(self, token: int) -> bytes: ...


@dataclass(frozen=True)
class Side:
    """One tokenizer on the text."""

    name: str
    n_vocab: int
    tokens: int
    bytes_per_token: float
    used: int
    """Distinct tokens that occur in the text."""
    lengths: list[int]
    """How many tokens of the encoded text have 1, 2, 3, ... bytes."""


@dataclass(frozen=True)
class Comparison:
    """Both tokenizers, and what they have in common."""

    bytes: int
    left: Side
    right: Side
    shared: int
    """Tokens with the same bytes in both vocabularies."""

    @property
    def overlap(self) -> float:
        """Shared tokens as a share of the smaller vocabulary, 0 to 1."""
        return self.shared / max(min(self.left.n_vocab, self.right.n_vocab), 1)


def compare_tokenizers(left: Comparable, right: Comparable, text: str) -> Comparison:
    """Encode `text` with both. Raises ValueError for an empty text."""
    size = len(text.encode())
    if not size:
        raise ValueError("expected some text to compare tokenizers on, got none")
    shared = len(set(left.token_byte_values()) & set(right.token_byte_values()))
    return Comparison(size, _side(left, text, size), _side(right, text, size), shared)


def _side(tokenizer: Comparable, text: str, size: int) -> Side:
    ids = tokenizer.encode_ordinary(text)
    decode = tokenizer.decode_single_token_bytes
    length_of = {token: len(decode(token)) for token in set(ids)}
    lengths = [0] * max(length_of.values())
    for token in ids:
        lengths[length_of[token] - 1] += 1
    return Side(
        tokenizer.name, tokenizer.n_vocab, len(ids), size / len(ids), len(length_of), lengths
    )
