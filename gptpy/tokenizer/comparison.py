"""Tokenizers on the same texts: how many tokens each needs, how well it covers them, how fast."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptpy.tokenizer.opening import Tokenizer, decode_ids, encode_array, encode_batch

ROUNDS = 3
"""Encodings of which the median is the speed."""
WORDS = 20_000
"""Different words of a text that are looked at, the first ones."""


@dataclass(frozen=True)
class Reading:
    """One tokenizer on one text."""

    tokens: int
    bytes_per_token: float
    fertility: float
    """Tokens a word; words are what white space divides, so Chinese has few and long ones."""
    whole_words: float
    """Share of the words, each counted as often as it occurs, that are one token, 0 to 1."""
    used: int
    """Distinct tokens that occur in the text."""
    lossless: bool
    """Whether decoding gives the text back: nothing in it is unknown or changed."""
    megabytes_per_second: float
    """Speed of encoding the whole text in one call, median of three, to an array."""


@dataclass(frozen=True)
class Comparison:
    """Every tokenizer on every text."""

    sizes: dict[str, int]
    """Bytes of each text, by its name."""
    vocabularies: dict[str, int]
    """Tokens of each tokenizer, by its name."""
    readings: dict[tuple[str, str], Reading]
    """By the names of tokenizer and text."""
    shared: dict[tuple[str, str], int]
    """Tokens with the same bytes, for each two byte-level tokenizers."""


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """The number of tokens, special ones included: fewer than `n_vocab` where ids are left out, as
    between the special tokens of o200k_base or in a pruned vocabulary."""
    token_byte_values: Any = getattr(tokenizer, "token_byte_values", None)
    if token_byte_values is None:
        return tokenizer.n_vocab
    return len(token_byte_values()) + len(tokenizer.special_tokens_set)


def compare_tokenizers(
    tokenizers: Mapping[str, Tokenizer],
    texts: Mapping[str, str],
    report: Callable[[str, str], None] | None = None,
) -> Comparison:
    """Encode all `texts` with all `tokenizers`; `report` is told the names of each two before.

    Raises ValueError for an empty text.
    """
    readings = {}
    for title, text in texts.items():
        if not text:
            raise ValueError(f"{title}: expected some text to compare tokenizers on, got none")
        for name, tokenizer in tokenizers.items():
            if report is not None:
                report(name, title)
            readings[name, title] = _reading(tokenizer, text)
    values: dict[str, set[bytes]] = {}
    for name, tokenizer in tokenizers.items():
        token_byte_values: Any = getattr(tokenizer, "token_byte_values", None)
        if token_byte_values is not None:
            values[name] = set(token_byte_values())
    names = list(values)
    return Comparison(
        sizes={title: len(text.encode()) for title, text in texts.items()},
        vocabularies={name: vocabulary_size(tokenizer) for name, tokenizer in tokenizers.items()},
        readings=readings,
        shared={
            (a, b): len(values[a] & values[b]) for i, a in enumerate(names) for b in names[i + 1 :]
        },
    )


def _reading(tokenizer: Tokenizer, text: str) -> Reading:
    size, ids, seconds = len(text.encode()), np.empty(0), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        ids = encode_array(tokenizer, text)
        seconds.append(time.perf_counter() - start)
    words, whole = text.split(), 0
    counts: dict[str, int] = {}
    for word in words:
        if word in counts or len(counts) < WORDS:
            counts[word] = counts.get(word, 0) + 1
    if counts:
        # A word has its space before it wherever it does not begin the text.
        _, offsets = encode_batch(tokenizer, [" " + word for word in counts])
        whole = int(np.array(list(counts.values()))[np.diff(offsets) == 1].sum())
    return Reading(
        tokens=len(ids),
        bytes_per_token=size / max(len(ids), 1),
        fertility=len(ids) / max(len(words), 1),
        whole_words=whole / max(sum(counts.values()), 1),
        used=len(np.unique(ids)),
        lossless=decode_ids(tokenizer, ids.tolist()) == text,
        megabytes_per_second=size / max(statistics.median(seconds), 1e-9) / 1e6,
    )
