"""The word-level tokenizer in a page: the reference implementation of `WordTokenizer`."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

END = "</w>"


def length(token: str) -> int:
    """Number of characters, `</w>` counting as one."""
    return len(token[: -len(END)]) + 1 if token.endswith(END) else len(token)


Words = list[tuple[list[str], int]]


def segmented(text: str, form: str) -> Words:
    """The distinct words as symbols, with their counts, in the order seen."""
    return [
        ([*word, END] if form == "notebook" else [*word[:-1], word[-1] + END], count)
        for word, count in Counter(text.split()).items()
    ]


def count_pairs(words: Words) -> Counter[tuple[str, str]]:
    pairs: Counter[tuple[str, str]] = Counter()
    for symbols, count in words:
        for pair in pairwise(symbols):
            pairs[pair] += count
    return pairs


def merge_all(words: Words, pair: tuple[str, str]) -> Words:
    return [(_merge(symbols, pair), count) for symbols, count in words]


def train(text: str, num_merges: int, form: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Merges in order, and tokens in the order of their ids (the specials not among them)."""
    words = segmented(text, form)
    alphabet = {symbol for symbols, _ in words for symbol in symbols}
    merges: list[tuple[str, str]] = []
    while len(merges) < num_merges and (pairs := count_pairs(words)):
        # `max` keeps the first of equals, and a Counter lists pairs in the order seen.
        merges.append(max(pairs, key=pairs.__getitem__))
        words = merge_all(words, merges[-1])
    left: Counter[str] = Counter()
    for symbols, count in words:
        for symbol in symbols:
            left[symbol] += count
    if form == "notebook":
        return merges, sorted(left, key=lambda t: (length(t), left[t]), reverse=True)
    ordered = sorted(alphabet, key=lambda symbol: (symbol.endswith(END), symbol))
    return merges, list(dict.fromkeys([*ordered, *("".join(pair) for pair in merges)]))


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(symbols):
        if tuple(symbols[at : at + 2]) == pair:
            out.append("".join(pair))
            at += 2
        else:
            out.append(symbols[at])
            at += 1
    return out


def encode_longest_first(text: str, tokens: list[str]) -> list[str]:
    """Encoding of the notebook form. `</w>` is replaced by one private character, so that it cannot
    be cut."""
    mark = "\U0010ffff"
    coded = [token.replace(END, mark) for token in tokens]
    out: list[str] = []
    for word in text.split():
        out += (token.replace(mark, END) for token in _cut(word + mark, coded))
    return out


def _cut(part: str, tokens: list[str]) -> list[str]:
    for rank, token in enumerate(tokens):
        if token not in part:
            continue
        out: list[str] = []
        at = 0
        for match in re.finditer(re.escape(token), part):
            out += _cut(part[at : match.start()], tokens[rank + 1 :])
            out.append(token)
            at = match.end()
        return out + _cut(part[at:], tokens[rank + 1 :])
    return ["</u>"] * len(part)
