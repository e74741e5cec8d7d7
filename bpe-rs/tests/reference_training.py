"""Training as it is defined, in a page: the reference implementation of `bpe_rs.train`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import regex

PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}


def words_of(texts: Iterable[str], pattern: str = "gpt2") -> Counter[bytes]:
    """Words with their counts, in the order of first occurrence."""
    split = regex.compile(PATTERNS.get(pattern, pattern))
    return Counter(word.encode() for text in texts for word in split.findall(text))


def byte_order(tie_break: str) -> list[int]:
    """The bytes in the order of their ids."""
    if tie_break != "huggingface":
        return list(range(256))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return printable + [byte for byte in range(256) if byte not in printable]


def reference_train(
    words: Counter[bytes],
    vocab_size: int,
    tie_break: str,
    *,
    min_frequency: int = 0,
    max_token_length: int | None = None,
) -> list[bytes]:
    """The tokens in the order of their ids: count all pairs, merge the best, repeat.

    O(merges x text). `words`: words with their counts, in the order of first occurrence.
    """
    order = byte_order(tie_break)
    tokens = [bytes([byte]) for byte in order]
    segmented = [([order.index(byte) for byte in word], n) for word, n in words.items()]
    while len(tokens) < vocab_size:
        pairs: dict[tuple[int, int], int] = {}  # in the order of first occurrence
        for ids, n in segmented:
            for pair in pairwise(ids):
                pairs[pair] = pairs.get(pair, 0) + n
        longest = max_token_length or 1 << 30
        pairs = {
            (a, b): n
            for (a, b), n in pairs.items()
            if n >= min_frequency and len(tokens[a] + tokens[b]) <= longest
        }
        if not pairs:
            break
        most = max(pairs.values())
        tied = [pair for pair, n in pairs.items() if n == most]
        if tie_break == "first_seen":
            a, b = tied[0]
        elif tie_break == "longest":
            a, b = min(tied, key=lambda p: (-len(tokens[p[0]] + tokens[p[1]]), p))
        else:
            a, b = min(tied)
        new = len(tokens)
        tokens.append(tokens[a] + tokens[b])
        for ids, _ in segmented:
            i = 0
            while i + 1 < len(ids):
                if (ids[i], ids[i + 1]) == (a, b):
                    ids[i : i + 2] = [new]
                i += 1
    return tokens
