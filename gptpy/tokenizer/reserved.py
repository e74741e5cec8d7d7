"""Ids with a meaning of their own that a run adds behind a tokenizer's vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

from gptpy.tokenizer.opening import Tokenizer, end_of_text


@dataclass(frozen=True)
class Reserved:
    """Ids with a meaning of their own: `end` closes a text and begins a row, `mask` hides a token.

    Those that the tokenizer lacks come after its vocabulary; `vocab_size` counts them.
    """

    end: int
    mask: int
    vocab_size: int


def reserve(tokenizer: Tokenizer, architecture: str, form: str) -> Reserved:
    """The reserved ids of a run on rows, or of an encoder."""
    size = tokenizer.n_vocab
    end = end_of_text(tokenizer)
    if end is None:
        end = size
        size += form != "stream"
    return Reserved(end, size, size + (architecture == "encoder"))
