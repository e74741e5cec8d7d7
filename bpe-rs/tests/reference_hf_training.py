"""The obvious way to learn what Hugging Face's `BpeTrainer` learns.

All pairs are counted anew before every merge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise


def forms(word: str, prefix: str, suffix: str) -> list[str]:
    """The characters of a word with their affixes."""
    last = len(word) - 1
    return [
        (prefix if at else "") + character + (suffix if at == last else "")
        for at, character in enumerate(word)
    ]


def learn(
    words: Counter[str],
    affixed: Sequence[str],
    *,
    vocab_size: int = 30_000,
    min_frequency: int = 0,
    special_tokens: Sequence[str] = (),
    initial_alphabet: Sequence[str] = (),
    limit_alphabet: int | None = None,
    continuing_subword_prefix: str | None = None,
    end_of_word_suffix: str | None = None,
    max_token_length: int | None = None,
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges. `affixed`: the characters with an affix, in the order of their ids.

    Equally frequent characters at the limit of the alphabet: those of the smallest code points.
    """
    prefix, suffix = continuing_subword_prefix or "", end_of_word_suffix or ""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    counts.update({text[0]: 2**62 for text in initial_alphabet if text})
    kept = sorted(counts, key=lambda character: (-counts[character], character))[:limit_alphabet]
    tokens = list(dict.fromkeys([*special_tokens, *sorted(kept)]))
    single = {token for token in tokens if len(token) == 1}
    tokens = list(dict.fromkeys([*tokens, *affixed]))
    ids = {token: id for id, token in enumerate(tokens)}
    segmented = {
        word: [
            ids[form]
            for form, character in zip(forms(word, prefix, suffix), word, strict=True)
            if character in single
        ]
        for word in words
    }
    lengths = [1] * len(tokens)
    merges = []
    while len(tokens) < vocab_size:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, symbols in segmented.items():
            for left, right in pairwise(symbols):
                length = lengths[left] + lengths[right]
                # Pairs of characters are never too long.
                if length == 2 or max_token_length is None or length < max_token_length:
                    pairs[left, right] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < max(min_frequency, 1):
            break
        left, right = best
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right].removeprefix(prefix))
        lengths.append(lengths[left] + lengths[right])
        for symbols in segmented.values():
            at = 0
            while at + 1 < len(symbols):
                if (symbols[at], symbols[at + 1]) == best:
                    symbols[at : at + 2] = [len(tokens) - 1]
                at += 1
    assert len(set(tokens)) == len(tokens)
    return {token: id for id, token in enumerate(tokens)}, merges
