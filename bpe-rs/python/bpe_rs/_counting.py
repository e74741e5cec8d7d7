"""Distinct words and their counts: `count_words` and `WordCounts`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

from bpe_rs import _core
from bpe_rs._progress import Phase, Report, reporter_of
from bpe_rs._sources import (
    PathLike,
    Text,
    as_bytes,
    as_path,
    as_text,
    parquet_texts,
    runs,
    text_batches,
    texts_or_paths,
)


class WordCounts:
    """Distinct words of a text and how often each occurs.

    Counts of the parts of a corpus, made on any machine, `merge` to the counts of the whole, and
    `train` learns the same merges from them as from the text. Made by `count_words`,
    `WordCounts.load` or `WordCounts.from_mapping`; can be pickled.

    >>> count_words(["a b"]).merge(count_words(["b c"]))
    <WordCounts 4 words, 4 in all, pattern 'gpt2'>
    """

    __slots__ = ("_counts",)

    def __init__(self, counts: _core.WordCounts) -> None:
        self._counts = counts

    @classmethod
    def from_mapping(
        cls,
        counts: Mapping[str, int] | Mapping[bytes, int],
        *,
        pattern: str = "gpt2",
        special_tokens: Sequence[Text] = (),
    ) -> WordCounts:
        """Words that were counted elsewhere, in the order of first occurrence.

        `pattern` and `special_tokens` are those that cut the text into these words.
        Raises ValueError for a count that is negative or does not fit 64 bits.
        """
        words = []
        for word, count in counts.items():
            if not 0 <= count < 1 << 64:
                raise ValueError(f"expected counts from 0 to 2^64 - 1, got {count} for {word!r}")
            if count:
                words.append((as_bytes(word, "counts"), count))
        specials = checked_special_tokens(special_tokens)
        counter = _core.WordCounter(_core.regex_of(pattern), specials, 1)
        counter.add_words(words)
        return cls(counter.finish())

    @property
    def pattern(self) -> str:
        """The regular expression that cut the text into words."""
        return self._counts.pattern

    @property
    def special_tokens(self) -> list[str]:
        """The special tokens that were cut out of the text."""
        return self._counts.special_tokens

    @property
    def fingerprint(self) -> str:
        """A digest of pattern and special tokens: counts with equal ones can be merged."""
        return self._counts.fingerprint

    @property
    def total(self) -> int:
        """Number of words, each counted as often as it occurs."""
        return self._counts.total

    @property
    def bytes(self) -> int:
        """Bytes of text counted."""
        return self._counts.bytes

    def __len__(self) -> int:
        """Number of distinct words."""
        return len(self._counts)

    def __getitem__(self, word: Text) -> int:
        """How often `word` occurs."""
        return self._counts.get(as_bytes(word, "word"))

    def items(self) -> list[tuple[bytes, int]]:
        """All words with their counts, in byte order."""
        return self._counts.sorted()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WordCounts):
            return NotImplemented
        return self.fingerprint == other.fingerprint and self.items() == other.items()

    __hash__ = None  # type: ignore[assignment]  # mutable: `merge` changes it

    def __repr__(self) -> str:
        pattern = self._counts.pattern_name or self.pattern
        return f"<WordCounts {len(self)} words, {self.total} in all, pattern {pattern!r}>"

    def __reduce__(self) -> tuple[Callable[[bytes], WordCounts], tuple[bytes]]:
        return WordCounts.from_bytes, (self.to_bytes(),)

    def merge(self, *others: WordCounts) -> WordCounts:
        """Add the counts of `others`, as if their texts came after this one's; returns `self`.

        Raises ValueError if they were cut by another pattern or other special tokens, TypeError for
        anything but WordCounts.
        """
        for other in others:
            if not isinstance(other, WordCounts):
                raise TypeError(f"others: expected WordCounts, got {type(other).__name__}")
            if other is self:
                other = WordCounts.from_bytes(self.to_bytes())
            self._counts.merge(other._counts)
        return self

    def prune(self, min_count: int) -> WordCounts:
        """A copy without the words that occur less than `min_count` times."""
        return WordCounts(self._counts.pruned(min_count))

    def save(self, path: PathLike) -> None:
        """Write the counts to a file atomically, words sorted, with a checksum.

        Equal counts make equal files. The order of first occurrence, which only
        `tie_break="first_seen"` needs, is not kept.
        """
        self._counts.save(os.fspath(as_path(path, "path")))

    @classmethod
    def load(cls, path: PathLike) -> WordCounts:
        """Read a file that `save` wrote. Raises ValueError if it is damaged or another file."""
        return cls(_core.WordCounts.load(os.fspath(as_path(path, "path"))))

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        return self._counts.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> WordCounts:
        """The counts from what `to_bytes` returned."""
        return cls(_core.WordCounts.from_bytes(data))


def count_words(
    source: str | os.PathLike[str] | Iterable[os.PathLike[str]] | Iterable[Text],
    *,
    pattern: str = "gpt2",
    special_tokens: Sequence[Text] = (),
    text_column: str = "text",
    progress: bool | Report = False,
    num_threads: int | None = None,
) -> WordCounts:
    """Count the words that `pattern`, which is one as for `train`, cuts from a source.

    `source`: the path of a file (str or `pathlib.Path`); or several `pathlib.Path` (`.jsonl`,
    `.parquet`, any other name for plain UTF-8; all but Parquet also compressed as `.gz` or `.zst`);
    or an iterable of texts (str, or bytes in UTF-8), of which a few megabytes are held at a time. A
    str in a list is a text, whatever files there are. Every text and every file is
    cut by itself. `text_column`: the field of JSON lines or column of Parquet files that holds the
    text. `special_tokens` separate texts and are not counted. `num_threads`: by default one per
    core.
    Raises OSError for a file that cannot be read, ValueError for one with other contents than its
    name says and for texts that look like names of files, TypeError for a text that is neither str
    nor bytes.

    >>> len(count_words(["the cat and the hat"]))
    5
    """
    specials = checked_special_tokens(special_tokens)
    regex = _core.regex_of(pattern)
    return count(source, regex, specials, text_column, reporter_of(progress), num_threads)


def count(
    source: object,
    regex: str,
    special_tokens: list[str],
    text_column: str,
    report: Report | None,
    num_threads: int | None,
) -> WordCounts:
    """`count_words` with checked arguments and no names of patterns."""
    text_column = as_text(text_column, "text_column")
    counter = _core.WordCounter(regex, special_tokens, num_threads)
    phase = Phase("count", report)
    done = 0
    texts, paths = texts_or_paths(source)
    if texts is not None:
        for batch in text_batches(texts):
            counter.add_texts(batch, phase.callback(done))
            done += sum(map(len, batch))
        phase.total = done
    elif paths is not None:
        phase.total = sum(path.stat().st_size for path in paths)
        for run, has_columns in runs(paths):
            if has_columns:
                for batch in text_batches(chain.from_iterable(parquet_texts(run[0], text_column))):
                    counter.add_texts(batch)
            else:
                names = [os.fspath(path) for path in run]
                counter.add_files(names, text_column, phase.callback(done))
            done += sum(path.stat().st_size for path in run)
    counts = counter.finish()
    phase.tell(done)
    return WordCounts(counts)


def checked_special_tokens(special_tokens: Sequence[Text]) -> list[str]:
    """The special tokens as a list. Raises TypeError for one that is neither str nor bytes,
    ValueError for one that is empty or listed twice."""
    if isinstance(special_tokens, str | bytes):
        raise TypeError(
            "special_tokens: expected a list of special tokens, got the "
            f"{type(special_tokens).__name__} {special_tokens!r}"
        )
    tokens = [as_text(token, "special_tokens") for token in special_tokens]
    if "" in tokens:
        raise ValueError("special_tokens: expected special tokens that are not empty")
    twice = next((token for token, count in Counter(tokens).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"special_tokens: expected distinct special tokens, got {twice!r} twice")
    return tokens
