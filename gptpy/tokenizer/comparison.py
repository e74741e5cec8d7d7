"""Two tokenizers on the same text: how short they make it, and how much they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Comparable(Protocol):
    """What is asked of a tokenizer; `bpe_rs.Encoding` has it."""

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
    """Both, and what they have in common."""

    bytes: int
    left: Side
    right: Side
    shared: int
    """Tokens with the same bytes in both vocabularies."""

    @property
    def overlap(self) -> float:
        """Shared tokens as a part of the smaller vocabulary, 0 to 1."""
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


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Draw bytes per token and the lengths of tokens as a PNG at `path` (needs matplotlib)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5))
    FigureCanvasAgg(figure)
    bars, lengths = figure.subplots(1, 2)
    sides = [comparison.left, comparison.right]
    places = range(len(sides))
    bars.bar(places, [side.bytes_per_token for side in sides], color=["tab:blue", "tab:orange"])
    bars.set_xticks(places, [f"{side.name}\n{side.n_vocab:,} tokens" for side in sides])
    bars.set_ylabel("bytes per token")
    for side in sides:
        share = [count / side.tokens for count in side.lengths[:20]]
        lengths.plot(range(1, len(share) + 1), share, "o-", markersize=3, label=side.name)
    lengths.set(xlabel="bytes in a token", ylabel="share of the text's tokens")
    lengths.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
