"""Learning a vocabulary: `train`."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, overload

from bpe_rs import _core
from bpe_rs._counting import WordCounts, count_words, distinct
from bpe_rs._encoding import Encoding
from bpe_rs._progress import Progress, Report, reporter_of
from bpe_rs._sources import Text

TieBreak = Literal["huggingface", "pair", "first_seen", "longest"]
Source: TypeAlias = (
    WordCounts | str | os.PathLike[str] | Sequence[os.PathLike[str]] | Iterable[Text]
)


@overload
def train(
    source: Source,
    *,
    vocab_size: int,
    pattern: str | None = ...,
    special_tokens: Sequence[str] = ...,
    min_frequency: int = ...,
    max_token_length: int | None = ...,
    tie_break: TieBreak = ...,
    initial_alphabet: Iterable[int] | None = ...,
    text_column: str = ...,
    name: str = ...,
    progress: bool | Report = ...,
    num_threads: int | None = ...,
) -> Encoding: ...
@overload
def train(
    source: Source,
    *,
    vocab_size: Sequence[int],
    pattern: str | None = ...,
    special_tokens: Sequence[str] = ...,
    min_frequency: int = ...,
    max_token_length: int | None = ...,
    tie_break: TieBreak = ...,
    initial_alphabet: Iterable[int] | None = ...,
    text_column: str = ...,
    name: str = ...,
    progress: bool | Report = ...,
    num_threads: int | None = ...,
) -> list[Encoding]: ...
def train(
    source: Source,
    *,
    vocab_size: int | Sequence[int],
    pattern: str | None = None,
    special_tokens: Sequence[str] = (),
    min_frequency: int = 0,
    max_token_length: int | None = None,
    tie_break: TieBreak = "huggingface",
    initial_alphabet: Iterable[int] | None = None,
    text_column: str = "text",
    name: str = "trained",
    progress: bool | Report = False,
    num_threads: int | None = None,
) -> Encoding | list[Encoding]:
    """Learn a byte-level BPE vocabulary.

    `source`: paths or texts as for `count_words`, or `WordCounts`.
    `vocab_size`: all tokens, the special ones included; several sizes give several encodings from
    one run. `pattern`: a named one ("gpt2", which None means, "cl100k", "o200k", ...) or any
    regular expression; what it cuts apart is never merged.
    `min_frequency`: pairs that occur less often are not merged. `max_token_length`: in bytes, of
    the learned tokens. `initial_alphabet`: the bytes that are tokens even if they do not occur;
    all 256 if None. `progress`: True writes lines to stderr, a function is called with `Progress`.
    `tie_break`, between pairs that are equally frequent:
    "huggingface", the merges of `tokenizers.trainers.BpeTrainer`: smallest (left id, right id),
    bytes numbered in the order of its byte-level alphabet; "pair", those of rustbpe: the same
    with bytes numbered by value; "first_seen", the pair that occurs first in the text;
    "longest", the pair that makes the longest token.

    In the encoding an id is a rank: first the single bytes (in the order of GPT-2's vocabulary
    for "huggingface", by value for the others), then the merges as they were learned, then the
    special tokens.
    Warns when the text has fewer merges than `vocab_size` asks for. Raises ValueError for a
    vocabulary too small for its bytes and special tokens, and for a source without text.

    >>> encoding = train(["low lower lowest"], vocab_size=258)
    >>> encoding.decode_tokens_bytes(encoding.encode("slow"))
    [b's', b'low']
    """
    specials = distinct(special_tokens)
    sizes = [vocab_size] if isinstance(vocab_size, int) else list(vocab_size)
    order = _core.byte_order(tie_break)
    _check_sizes(sizes, len(order) if initial_alphabet is None else 1, specials)
    if min_frequency < 0:
        raise ValueError(f"expected min_frequency of at least 0, got {min_frequency}")
    if max_token_length is not None and max_token_length < 1:
        raise ValueError(f"expected max_token_length of at least 1, got {max_token_length}")
    report = reporter_of(progress)
    if isinstance(source, WordCounts):
        counts = source
        _check_pattern(counts, pattern)
    else:
        counts = count_words(
            source,
            pattern=pattern or "gpt2",
            special_tokens=specials,
            text_column=text_column,
            progress=report or False,
            num_threads=num_threads,
        )
    if not len(counts):
        raise ValueError("expected a source with text, got none: there is nothing to learn from")
    if initial_alphabet is not None:
        kept = set(initial_alphabet).union(*(word for word, _ in counts.items()))
        order = bytes(byte for byte in order if byte in kept)
        _check_sizes(sizes, len(order), specials)
    regex = counts.pattern
    merges = max(sizes) - len(order) - len(specials)
    start = time.perf_counter()

    def tell(done: int) -> None:
        if report:
            report(Progress("merge", done, merges, time.perf_counter() - start))

    learned = _core.learn(
        counts._counts,
        alphabet=order,
        vocab_size=len(order) + merges,
        tie_break=tie_break,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
        consume=counts is not source,
        callback=tell if report else None,
    )
    tokens = learned["tokens"]
    tell(len(tokens) - len(order))
    if len(tokens) < len(order) + merges:
        limits = [f"of pairs that occur {min_frequency} times"] if min_frequency > 1 else []
        if max_token_length is not None:
            limits.append(f"of at most {max_token_length} bytes")
        warnings.warn(
            f"vocab_size {max(sizes)} asks for {merges} merges, the text has only "
            f"{' '.join([str(len(tokens) - len(order)), *limits])}; the vocabulary has "
            f"{len(tokens) + len(specials)} tokens",
            stacklevel=2,
        )
    encodings = []
    for size in sizes:
        ranks = {token: rank for rank, token in enumerate(tokens[: size - len(specials)])}
        ids = {special: len(ranks) + i for i, special in enumerate(specials)}
        encodings.append(Encoding(name, pat_str=regex, mergeable_ranks=ranks, special_tokens=ids))
    return encodings[0] if isinstance(vocab_size, int) else encodings


def _check_pattern(counts: WordCounts, pattern: str | None) -> None:
    if pattern is None:
        return
    wanted = WordCounts.from_mapping({}, pattern=pattern).pattern
    if wanted != counts.pattern:
        raise ValueError(
            f"these counts were made with the pattern {counts.pattern!r}, got {pattern!r}; "
            "leave pattern away or count again"
        )


def _check_sizes(sizes: list[int], alphabet: int, specials: list[str]) -> None:
    if not sizes:
        raise ValueError("expected at least one vocab_size, got none")
    least = alphabet + len(specials)
    for size in sizes:
        if not isinstance(size, int):
            raise TypeError(f"expected vocab_size to be int, got {type(size).__name__}")
        if size < least:
            raise ValueError(
                f"expected vocab_size of at least {least} ({alphabet} bytes and {len(specials)} "
                f"special tokens), got {size}"
            )
        if size >= 1 << 31:
            raise ValueError(f"expected vocab_size below 2^31, got {size}")
