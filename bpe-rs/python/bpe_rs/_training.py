"""Learning a vocabulary: `train`."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, overload

from bpe_rs import _core
from bpe_rs._counting import WordCounts, checked_special_tokens, count
from bpe_rs._encoding import Encoding
from bpe_rs._progress import Phase, Report, reporter_of
from bpe_rs._sources import Text, as_text

TieBreak = Literal["huggingface", "pair", "first_seen", "longest"]
Source: TypeAlias = (
    WordCounts | str | os.PathLike[str] | Iterable[os.PathLike[str]] | Iterable[Text]
)


@overload
def train(
    source: Source,
    *,
    vocab_size: int,
    pattern: str | None = ...,
    special_tokens: Sequence[Text] = ...,
    min_frequency: int = ...,
    max_token_length: int | None = ...,
    max_token_words: int | None = ...,
    tie_break: TieBreak = ...,
    initial_alphabet: Iterable[int] | None = ...,
    base: Encoding | None = ...,
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
    special_tokens: Sequence[Text] = ...,
    min_frequency: int = ...,
    max_token_length: int | None = ...,
    max_token_words: int | None = ...,
    tie_break: TieBreak = ...,
    initial_alphabet: Iterable[int] | None = ...,
    base: Encoding | None = ...,
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
    special_tokens: Sequence[Text] = (),
    min_frequency: int = 0,
    max_token_length: int | None = None,
    max_token_words: int | None = None,
    tie_break: TieBreak = "huggingface",
    initial_alphabet: Iterable[int] | None = None,
    base: Encoding | None = None,
    text_column: str = "text",
    name: str = "trained",
    progress: bool | Report = False,
    num_threads: int | None = None,
) -> Encoding | list[Encoding]:
    """Learn a byte-level BPE vocabulary.

    `source`: paths or texts as for `count_words`, or `WordCounts`.
    `vocab_size`: the number of all tokens, special ones included; several sizes give several
    encodings from one run. `pattern`: a named one ("gpt2", the default, "cl100k", "o200k", ...) or
    any regular expression (one that looks like a name in a group: `(?:abc)`); what it cuts apart is
    never merged.
    `min_frequency`: pairs that occur less often are not merged. `max_token_length`: the most bytes
    of a learned token. `max_token_words`: its most words, which are stretches without a space; no
    token has a colon before a space, either (see `train_superwords`). `initial_alphabet`: the bytes
    that are tokens even if they do not occur; all 256 by default. `progress`: True writes lines to
    stderr, a function is called with `Progress`.
    `tie_break` decides between equally frequent pairs:
    "huggingface", the merges of `tokenizers.trainers.BpeTrainer`: smallest (left id, right id),
    bytes numbered in the order of its byte-level alphabet; "pair", those of rustbpe: the same
    with bytes numbered by value; "first_seen", the pair that occurs first in the text;
    "longest", the pair that makes the longest token.

    In the encoding an id is a rank: first the single bytes (in the order of GPT-2's vocabulary
    for "huggingface", by value for the others), then the merges in the order in which they were
    learned, then the special tokens.
    `base` is an encoding to extend: its tokens, pattern and special tokens are kept with their ids;
    new tokens, then new special tokens, follow its highest id. A pair that spells one of its tokens
    is not merged.
    Warns when the text has fewer merges than `vocab_size` asks for. Raises ValueError for a
    vocabulary too small for its bytes and special tokens, and for a source without text.

    >>> encoding = train(["low lower lowest"], vocab_size=258)
    >>> encoding.decode_tokens_bytes(encoding.encode("slow"))
    [b's', b'low']
    """
    specials = checked_special_tokens(special_tokens)
    name = as_text(name, "name")
    several = isinstance(vocab_size, Iterable)
    sizes = list(vocab_size) if several else [vocab_size]
    sizes = [_core.whole_number("vocab_size", size, 0) for size in sizes]
    byte_order = _core.byte_order(tie_break)
    alphabet = None if initial_alphabet is None else _bytes_of(initial_alphabet)
    min_frequency = _core.whole_number("min_frequency", min_frequency, 0)
    if max_token_length is not None:
        max_token_length = _core.whole_number("max_token_length", max_token_length, 1)
        max_token_length = min(max_token_length, (1 << 32) - 1)
    if max_token_words is not None:
        max_token_words = _core.whole_number("max_token_words", max_token_words, 1)
        max_token_words = min(max_token_words, (1 << 32) - 1)
    if base is None:
        least = len(byte_order) if alphabet is None else 1
        _check_sizes(sizes, least, "bytes", specials)
        regex = _core.regex_of(pattern or "gpt2")
    else:
        _check_base(base, pattern, initial_alphabet, specials)
        _check_sizes(sizes, base.n_vocab, "ids of base", specials)
        regex = base.pat_str
    report = reporter_of(progress)
    if isinstance(source, WordCounts):
        counts = source
        if (pattern or base) and regex != counts.pattern:
            raise ValueError(
                f"these counts were made with the pattern {counts.pattern!r}, expected {regex!r}; "
                "count again" + ("" if base else ", or leave pattern away")
            )
        regex = counts.pattern
    else:
        cut_out = [*(base.special_tokens if base else ()), *specials]
        counts = count(source, regex, cut_out, text_column, report, num_threads)
    if not len(counts):
        raise ValueError("expected a source with text, got none: there is nothing to learn from")
    if alphabet is not None:
        used = alphabet.union(*(word for word, _ in counts.items()))
        byte_order = bytes(byte for byte in byte_order if byte in used)
        _check_sizes(sizes, len(byte_order), "bytes", specials)
    first_id = base.n_vocab if base else len(byte_order)
    num_merges = max(sizes) - first_id - len(specials)
    phase = Phase("merge", report, num_merges)
    learned = _core.learn(
        counts._counts,
        alphabet=byte_order,
        base=base,
        vocab_size=(len(base.mergeable_ranks) if base else len(byte_order)) + num_merges,
        tie_break=tie_break,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
        max_token_words=max_token_words,
        num_threads=num_threads,
        consume=counts is not source,
        callback=phase.callback(),
    )
    phase.tell(len(learned))
    if len(learned) < num_merges:
        limits = [f"of pairs that occur {min_frequency} times"] if min_frequency > 1 else []
        if max_token_length is not None:
            limits.append(f"of at most {max_token_length} bytes")
        if max_token_words is not None:
            limits.append(f"of at most {max_token_words} words")
        warnings.warn(
            f"vocab_size {max(sizes)} asks for {num_merges} merges, the text has only "
            f"{' '.join([str(len(learned)), *limits])}; the vocabulary has "
            f"{first_id + len(learned) + len(specials)} tokens",
            stacklevel=2,
        )
    encodings = []
    for size in sizes:
        merges = min(size - first_id - len(specials), len(learned))
        ids = {special: first_id + merges + i for i, special in enumerate(specials)}
        if base is None:
            encodings.append(Encoding(learned.encoding(merges, name, regex, list(ids.items()))))
        else:
            encodings.append(_extended(base, name, learned.tokens()[:merges], ids))
    return encodings if several else encodings[0]


def _extended(
    base: Encoding, name: str, tokens: list[bytes], special_tokens: dict[str, int]
) -> Encoding:
    """`base` with more tokens, whose ids follow its highest, and more special tokens."""
    added = {token: base.n_vocab + i for i, token in enumerate(tokens)}
    return Encoding(
        name,
        pat_str=base.pat_str,
        mergeable_ranks={**base.mergeable_ranks, **added},
        special_tokens={**base.special_tokens, **special_tokens},
    )


def _bytes_of(alphabet: Iterable[int]) -> set[int]:
    """The set of the bytes in `initial_alphabet`; ValueError for anything but 0 to 255."""
    found: set[int] = set()
    for byte in alphabet:
        try:
            number = operator.index(byte)  # also numpy's integers
        except TypeError:
            number = -1
        if not 0 <= number < 256:
            raise ValueError(f"expected bytes, 0 to 255, in initial_alphabet, got {byte!r}")
        found.add(number)
    return found


def _check_base(
    base: Encoding,
    pattern: str | None,
    initial_alphabet: Iterable[int] | None,
    specials: list[str],
) -> None:
    """TypeError or ValueError for a `base` that these arguments cannot extend."""
    if not isinstance(base, Encoding):
        raise TypeError(f"expected base to be an Encoding, got {type(base).__name__}")
    if not base._is_ranked:
        raise ValueError(
            f"{base.name}: its ids are not in the order of its merges, so it cannot be extended"
        )
    if initial_alphabet is not None:
        raise ValueError("initial_alphabet is for a new vocabulary: base has its own")
    if pattern is not None and _core.regex_of(pattern) != base.pat_str:
        raise ValueError(
            f"expected the pattern of base, {base.pat_str!r}, got {pattern!r}; leave pattern away"
        )
    known = base.special_tokens
    for special in specials:
        if special in known:
            raise ValueError(f"expected new special tokens, but base has {special!r} already")


def _check_sizes(sizes: list[int], least: int, what: str, specials: list[str]) -> None:
    """ValueError for sizes without room for `least` ids (`what`) and `specials`."""
    if not sizes:
        raise ValueError("expected at least one vocab_size, got none")
    for size in sizes:
        if size < least + len(specials):
            raise ValueError(
                f"expected vocab_size of at least {least + len(specials)} ({least} {what} and "
                f"{len(specials)} special tokens), got {size}"
            )
        if size >= 1 << 31:
            # `whole_number` gives its largest number for what is larger
            shown = size if size < (1 << 64) - 1 else f"{size} or more"
            raise ValueError(f"expected vocab_size below 2^31, got {shown}")
