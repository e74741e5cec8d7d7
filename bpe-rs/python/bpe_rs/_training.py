"""Learning a vocabulary: `count_words` and `train`."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, overload

from bpe_rs import _core
from bpe_rs._encoding import Encoding
from bpe_rs._sources import Text, as_paths, is_parquet, parquet_texts, text_batches

TieBreak = Literal["huggingface", "pair", "first_seen", "longest"]


class Progress(NamedTuple):
    """How far a training is. Given to the callback several times a second."""

    phase: Literal["count", "merge"]
    done: int
    """Bytes read, or merges made."""
    total: int | None
    """None where it is not known: for an iterator of texts."""
    seconds: float
    """Since this phase began."""

    @property
    def rate(self) -> float:
        """Bytes or merges a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds to go, if the total is known."""
        if self.total is None or self.done == 0:
            return None
        return max(self.total - self.done, 0) / self.rate if self.rate > 0 else None


Report = Callable[[Progress], object]


class WordCounts:
    """Distinct words of a text and how often each occurs: the half of training that adds up.

    Counts of the parts of a corpus, made anywhere, give by `merge` the counts of the whole, and
    `train` learns the same merges from them as from the text. Made by `count_words`,
    `WordCounts.load` or `WordCounts.from_mapping`; can be pickled.
    """

    __slots__ = ("_counts",)

    def __init__(self, counts: _core.WordCounts) -> None:
        self._counts = counts

    @classmethod
    def from_mapping(
        cls,
        counts: Mapping[Text, int],
        *,
        pattern: str = "gpt2",
        special_tokens: Sequence[str] = (),
    ) -> WordCounts:
        """Words that were counted elsewhere, in the order of first occurrence.

        `pattern` is what cut the text into these words.
        Raises ValueError for a count that is negative or does not fit 64 bits.
        """
        words = []
        for word, count in counts.items():
            if not 0 <= count < 1 << 64:
                raise ValueError(f"expected counts from 0 to 2^64 - 1, got {count} for {word!r}")
            if count:
                words.append((word.encode() if isinstance(word, str) else word, count))
        counter = _core.WordCounter(pattern, list(special_tokens), 1)
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
        """Equal for counts that may be merged: those of the same pattern and special tokens."""
        return self._counts.fingerprint

    @property
    def total(self) -> int:
        """Number of words, every one as often as it occurs."""
        return self._counts.total

    @property
    def bytes(self) -> int:
        """Bytes of text counted."""
        return self._counts.bytes

    def __len__(self) -> int:
        """Number of distinct words."""
        return len(self._counts)

    def __getitem__(self, word: Text) -> int:
        """How often `word` occurs; zero if it does not."""
        return self._counts.get(word.encode() if isinstance(word, str) else word)

    def items(self) -> list[tuple[bytes, int]]:
        """All words with their counts, in byte order."""
        return self._counts.sorted()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WordCounts):
            return NotImplemented
        return self.fingerprint == other.fingerprint and self.items() == other.items()

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        pattern = self._counts.pattern_name or self.pattern
        return f"<WordCounts {len(self)} words, {self.total} in all, pattern {pattern!r}>"

    def __reduce__(self) -> tuple[Callable[[bytes], WordCounts], tuple[bytes]]:
        return WordCounts.from_bytes, (self.to_bytes(),)

    def merge(self, *others: WordCounts) -> WordCounts:
        """Add the counts of `others`, as if their texts came after this one's; returns `self`.

        Raises ValueError if they were cut by another pattern or other special tokens.
        """
        for other in others:
            if other is self:
                other = WordCounts.from_bytes(self.to_bytes())
            self._counts.merge(other._counts)
        return self

    def prune(self, min_count: int) -> WordCounts:
        """A copy without the words that occur less than `min_count` times."""
        return WordCounts(self._counts.pruned(min_count))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the counts to a file: words sorted, with a checksum, complete or not at all.

        Equal counts make equal files. The order of first occurrence, which only
        `tie_break="first_seen"` asks for, is not kept.
        """
        self._counts.save(os.fspath(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WordCounts:
        """Read a file that `save` wrote. Raises ValueError if it is damaged or another file."""
        return cls(_core.WordCounts.load(os.fspath(path)))

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        return self._counts.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> WordCounts:
        """The counts from what `to_bytes` returned."""
        return cls(_core.WordCounts.from_bytes(data))


def count_words(
    source: str | os.PathLike[str] | Sequence[os.PathLike[str]] | Iterable[Text],
    *,
    pattern: str = "gpt2",
    special_tokens: Sequence[str] = (),
    text_column: str = "text",
    progress: bool | Report = False,
    num_threads: int | None = None,
) -> WordCounts:
    """Count the words that `pattern` cuts from a source.

    `source`: the path of a file, or a list of paths (`.txt` or any other name for plain UTF-8,
    `.jsonl`, `.parquet`; the first two also packed as `.gz` or `.zst`), or an iterable of texts
    (str, or bytes in UTF-8), of which a few megabytes are held at a time. Every text and every
    file is cut by itself. `text_column`: where the text is in JSON and Parquet. `special_tokens`
    separate texts and are not counted. `num_threads`: all cores if None.
    Raises OSError for a file that cannot be read, ValueError for one that is not what it should
    be, TypeError for a text that is neither str nor bytes.
    """
    counter = _core.WordCounter(pattern, _distinct(special_tokens), _threads(num_threads))
    report = _reporter(progress)
    start = time.perf_counter()

    def callback(before: int, total: int | None) -> Callable[[int], None] | None:
        def tell(done: int) -> None:
            if report:
                report(Progress("count", before + done, total, time.perf_counter() - start))

        return tell if report else None

    paths = as_paths(source)
    if paths is None:
        if isinstance(source, bytes) or not isinstance(source, Iterable):
            raise TypeError(
                f"expected paths, an iterable of texts or WordCounts, got {type(source).__name__}"
            )
        done = 0
        for batch in text_batches(source):  # pyright: ignore[reportArgumentType]
            counter.add_texts(batch, callback(done, None))
            done += sum(map(len, batch))
        total = done
    else:
        total = sum(path.stat().st_size for path in paths)
        done = 0
        for run, packed in _runs(paths):
            if packed:
                for batch in text_batches(parquet_texts(run[0], text_column)):
                    counter.add_texts(batch)
            else:
                counter.add_files([os.fspath(path) for path in run], text_column,
                                  callback(done, total))
            done += sum(path.stat().st_size for path in run)
    counts = counter.finish()
    if report:
        report(Progress("count", done, total, time.perf_counter() - start))
    return WordCounts(counts)


def _runs(paths: list[Path]) -> Iterator[tuple[list[Path], bool]]:
    """Paths in order: single Parquet files (True) and runs of others (False)."""
    run: list[Path] = []
    for path in paths:
        if is_parquet(path):
            if run:
                yield run, False
                run = []
            yield [path], True
        else:
            run.append(path)
    if run:
        yield run, False


@overload
def train(source: object, *, vocab_size: int, **options: object) -> Encoding: ...
@overload
def train(source: object, *, vocab_size: Sequence[int], **options: object) -> list[Encoding]: ...
def train(
    source: object,
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
    """
    specials = _distinct(special_tokens)
    sizes = [vocab_size] if isinstance(vocab_size, int) else list(vocab_size)
    order = _core.byte_order(tie_break)
    fixed = 256 if initial_alphabet is None else None
    _check_sizes(sizes, fixed or 1, specials)
    if min_frequency < 0:
        raise ValueError(f"expected min_frequency of at least 0, got {min_frequency}")
    if max_token_length is not None and max_token_length < 1:
        raise ValueError(f"expected max_token_length of at least 1, got {max_token_length}")
    report = _reporter(progress)
    if isinstance(source, WordCounts):
        counts = source
        wanted = pattern and _core.WordCounter(pattern, [], 1).finish().pattern
        if wanted is not None and wanted != counts.pattern:
            raise ValueError(
                f"these counts were made with the pattern {counts.pattern!r}, got {pattern!r}; "
                "leave pattern away or count again"
            )
    else:
        counts = count_words(
            source,  # pyright: ignore[reportArgumentType]
            pattern=pattern or "gpt2",
            special_tokens=specials,
            text_column=text_column,
            progress=report or False,
            num_threads=num_threads,
        )
    if not len(counts):
        raise ValueError("expected a source with text, got none: there is nothing to learn from")
    if initial_alphabet is not None:
        wanted = set(initial_alphabet) | {byte for word, _ in counts.items() for byte in word}
        order = bytes(byte for byte in order if byte in wanted)
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
    encodings = []
    for size in sizes:
        plain = size - len(specials)
        if len(tokens) < plain:
            warnings.warn(
                f"vocab_size {size} asks for {plain - len(order)} merges, the text has only "
                f"{len(tokens) - len(order)}"
                + (f" of pairs that occur {min_frequency} times" if min_frequency > 1 else "")
                + f"; the vocabulary has {len(tokens) + len(specials)} tokens",
                stacklevel=2,
            )
        ranks = {token: rank for rank, token in enumerate(tokens[:plain])}
        ids = {special: len(ranks) + i for i, special in enumerate(specials)}
        encodings.append(
            Encoding(name, pat_str=regex, mergeable_ranks=ranks, special_tokens=ids)
        )
    return encodings[0] if isinstance(vocab_size, int) else encodings


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


def _distinct(special_tokens: Sequence[str]) -> list[str]:
    if isinstance(special_tokens, str):
        raise TypeError(f"expected a list of special tokens, got the str {special_tokens!r}")
    tokens = list(special_tokens)
    for i, token in enumerate(tokens):
        if not isinstance(token, str):
            raise TypeError(f"expected special tokens of type str, got {type(token).__name__}")
        if not token:
            raise ValueError("expected special tokens that are not empty")
        if token in tokens[:i]:
            raise ValueError(f"expected distinct special tokens, got {token!r} twice")
    return tokens


def _threads(num_threads: int | None) -> int:
    if num_threads is None:
        try:
            return max(len(os.sched_getaffinity(0)), 1)
        except AttributeError:  # not on macOS and Windows
            return max(os.cpu_count() or 1, 1)
    if num_threads < 1:
        raise ValueError(f"expected num_threads of at least 1, got {num_threads}")
    return num_threads


def _reporter(progress: bool | Report) -> Report | None:
    if callable(progress):
        return progress
    return _Lines() if progress else None


class _Lines:
    """A line to stderr every second and at the end of a phase."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.perf_counter()
        finished = progress.total is not None and progress.done >= progress.total
        if now - self._last < 1 and not finished:
            return
        self._last = now
        scale, unit = (1e6, "MB") if progress.phase == "count" else (1, "merges")
        total = "" if progress.total is None else f" of {progress.total / scale:,.0f}"
        eta = "" if progress.eta is None or finished else f", {progress.eta:.0f} s to go"
        sys.stderr.write(
            f"{progress.phase}: {progress.done / scale:,.0f}{total} {unit}, "
            f"{progress.rate / scale:,.0f} {unit}/s{eta}\n"
        )
