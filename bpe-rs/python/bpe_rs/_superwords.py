"""Tokens of several words: `train_superwords`."""

from __future__ import annotations

from collections.abc import Sequence

from bpe_rs import _core
from bpe_rs._encoding import Encoding
from bpe_rs._progress import Report
from bpe_rs._sources import Text
from bpe_rs._training import Source, TieBreak, train


def train_superwords(
    source: Source,
    *,
    base: Encoding,
    vocab_size: int,
    pattern: str = "superwords",
    max_token_words: int = 4,
    special_tokens: Sequence[Text] = (),
    min_frequency: int = 0,
    max_token_length: int | None = None,
    tie_break: TieBreak = "huggingface",
    text_column: str = "text",
    name: str = "trained",
    progress: bool | Report = False,
    num_threads: int | None = None,
) -> Encoding:
    """Learn tokens that cross the borders of words: the second stage of SuperBPE.

    `base`, of the first stage, was trained by `train` within words. Its tokens and special tokens
    keep their ids, and the merges go on in pieces that `pattern` cuts, which may be whole
    paragraphs; it becomes the pattern of the result. The usual one cuts out groups of digits, runs
    of punctuation and of spaces; what is between is one piece. A new token has at most
    `max_token_words` words and no colon before a space. The other arguments are those of `train`.
    The authors keep 80 % of the vocabulary for the first stage and more. Raises as `train` does.

    Source: Liu et al., SuperBPE: Space Travel for Language Models, 2025, arXiv 2503.13423, and the
    authors' trainer, whose merges these are.

    >>> words = train(["by the way, by the way"], vocab_size=262)
    >>> encoding = train_superwords(["by the way, by the way"], base=words, vocab_size=266)
    >>> encoding.decode_tokens_bytes(encoding.encode("by the way"))
    [b'by the way']
    """
    if not isinstance(base, Encoding):
        raise TypeError(f"expected base to be an Encoding, got {type(base).__name__}")
    if not base._is_ranked:
        raise ValueError(
            f"{base.name}: its ids are not in the order of its merges, so it cannot be extended"
        )
    recut = Encoding(
        base.name,
        pat_str=_core.regex_of(pattern),
        mergeable_ranks=base.mergeable_ranks,
        special_tokens=base.special_tokens,
    )
    return train(
        source,
        base=recut,
        vocab_size=vocab_size,
        max_token_words=max_token_words,
        special_tokens=special_tokens,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
        tie_break=tie_break,
        text_column=text_column,
        name=name,
        progress=progress,
        num_threads=num_threads,
    )
