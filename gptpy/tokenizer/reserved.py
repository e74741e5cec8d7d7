"""Special ids of a run: end of text and mask, added after the vocabulary where it lacks them."""

from __future__ import annotations

from dataclasses import dataclass

from gptpy.tokenizer.foreign import ForeignTokenizer
from gptpy.tokenizer.opening import Tokenizer, end_of_text

MASK = "[MASK]"


@dataclass(frozen=True)
class Reserved:
    """`end` closes a text and begins a row; `mask` stands for a token that an encoder restores.

    An id that the tokenizer lacks comes after its vocabulary; `vocab_size` counts it. A mask is
    taken from tokenizers of BERT's kind alone: so ids stay what they were in older runs.
    """

    end: int
    mask: int
    vocab_size: int


def reserve(tokenizer: Tokenizer, architecture: str, form: str) -> Reserved:
    """The special ids of a run with this `data.form`; only an encoder counts a mask."""
    size = tokenizer.n_vocab
    end = end_of_text(tokenizer)
    if end is None:
        end = size
        size += form != "stream"
    if isinstance(tokenizer, ForeignTokenizer) and MASK in tokenizer.special_tokens_set:
        return Reserved(end, tokenizer.encode_single_token(MASK), size)
    return Reserved(end, size, size + (architecture == "encoder"))
