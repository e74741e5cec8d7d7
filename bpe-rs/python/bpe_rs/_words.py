"""Word-level BPE with an end-of-word mark, and a tokenizer with one id per character.

Both are for learning and for small recipes: they work on characters, not bytes, and only on those
of the text they were trained on. For everything else use `bpe_rs.train`.
"""

from __future__ import annotations

import json
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bpe_rs import _core
from bpe_rs._sources import PathLike, as_path, is_file_name

if TYPE_CHECKING:
    from typing_extensions import Self

_VERSION = 1


class _SavedByParts(ABC):
    """Files, pickles and equality of a tokenizer that its constructor makes of `_parts()`."""

    _format: ClassVar[str]
    _keys: ClassVar[tuple[str, ...]]

    @abstractmethod
    def _parts(self) -> tuple[Any, ...]:
        """The constructor's arguments, which files have under `_keys`."""

    def save(self, path: PathLike) -> None:
        """Write the tokenizer to a JSON file atomically."""
        parts = dict(zip(self._keys, self._parts(), strict=True))
        content = {"format": self._format, "version": _VERSION} | parts
        text = json.dumps(content, ensure_ascii=False)
        _core.write_atomic(as_path(path, "path"), text.encode())

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a file that `save` wrote; ValueError for any other file."""
        try:
            content = json.loads(as_path(path, "path").read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not a {cls._format} file: {error}") from None
        found = content.get("format") if isinstance(content, dict) else None
        if found != cls._format:
            raise ValueError(f"{path}: expected a {cls._format} file, its format says {found!r}")
        if content.get("version") != _VERSION:
            raise ValueError(
                f"{path}: version {content.get('version')!r} is not known, this release reads "
                f"version {_VERSION}; a newer bpe_rs may read it"
            )
        try:
            parts = [content[key] for key in cls._keys]
            # JSON has lists where the constructor wants tuples.
            return cls(*([tuple(row) for row in p] if isinstance(p, list) else p for p in parts))
        except KeyError as error:
            raise ValueError(f"{path}: {error} is missing") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._parts()

    def __eq__(self, other: object) -> bool:
        return self._parts() == other._parts() if isinstance(other, type(self)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # the classes have their own


class WordTokenizer(_SavedByParts, _core.WordTokenizer):
    """BPE inside words: split on white space, `</w>` at the end of a word.

    `</u>` (id 0) stands for a character that no token covers, `</p>` (id 1) pads rows to
    `max_length`. White space is not kept: decoding joins words by one space.

    `form="notebook"`: `</w>` is a symbol of its own while merging. The vocabulary is what the
    words consist of after the last merge, sorted by length (`</w>` counts as one) and then by
    frequency, both descending. Encoding takes the longest token anywhere in a word first, then
    continues left and right of it; what remains can be a character without a token (`</u>`), even
    one of the training text. `form="standard"`: `</w>` is attached to the last character, merges
    are applied in order (arXiv:1508.07909; Hugging Face's `end_of_word_suffix`).

    >>> tokenizer = WordTokenizer.train("low low lower lowest newest", num_merges=4)
    >>> tokenizer.tokens("low newest")
    ['low</w>', 'n', 'e', 'w', 'e', 's', 't', '</w>']
    >>> tokenizer.decode(tokenizer.encode("newest  low"))
    'newest low'
    """

    _format = "bpe_rs.words"
    _keys = ("form", "tokens", "merges")

    @classmethod
    def train(
        cls,
        source: str | Iterable[str],
        num_merges: int = 4000,
        *,
        form: Literal["notebook", "standard"] = "notebook",
    ) -> WordTokenizer:
        """Learn merges from a text, or from several.

        The most frequent pair is merged first, of equally frequent ones the one that comes first
        when the distinct words are read in the order in which they were seen.

        Raises ValueError for a text without words or a negative `num_merges`, and warns when
        every word is one token before `num_merges` merges are made.
        """
        tokens, merges = _core.train_words(_texts(source), num_merges, form)
        if len(merges) < num_merges:
            warnings.warn(
                f"asked for {num_merges} merges, the text allows {len(merges)}: "
                "every word is one token by then",
                stacklevel=2,
            )
        return cls(form, tokens, merges)

    def encode_batch(
        self,
        texts: Sequence[str],
        *,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Ids and attention masks of several texts, padded to `max_length` or to the longest.

        >>> tokenizer = WordTokenizer.train("a b", num_merges=2)
        >>> tokenizer.encode_batch(["a b", "b"])
        ([[2, 3], [3, 1]], [[1, 1], [1, 0]])
        """
        if max_length is None:
            if truncation:
                raise ValueError("truncation=True needs a max_length")
            max_length = max((len(self.encode(text)) for text in texts), default=0)
        rows = [self.encode(text, max_length=max_length, truncation=truncation) for text in texts]
        return [ids for ids, _ in rows], [mask for _, mask in rows]

    @cached_property
    def vocab(self) -> dict[str, int]:
        """Token to id, specials first."""
        return {self.id_to_token(i): i for i in range(self.vocab_size)}

    @cached_property
    def counts(self) -> dict[str, int]:
        """How often each token occurs in the training text after the last merge."""
        return {text + "</w>" * end: count for text, end, count in self._token_parts()}

    @cached_property
    def merges(self) -> list[tuple[str, str]]:
        """The merges in the order in which they were learned."""
        return [(left, right + "</w>" * end) for left, right, end in self._merge_parts()]

    def token_to_id(self, token: str) -> int:
        """The id of a token; `</u>`'s for one that is not in the vocabulary."""
        return self.vocab.get(token, 0)

    def _parts(self) -> tuple[Any, ...]:
        return self.form, self._token_parts(), self._merge_parts()

    def __hash__(self) -> int:
        return hash((self.form, self.vocab_size))

    def __repr__(self) -> str:
        return f"<WordTokenizer {self.form!r} with {self.vocab_size} tokens>"


class CharTokenizer(_SavedByParts, _core.CharTokenizer):
    """One id for each distinct character of a text, ordered by code point.

    Encoding raises ValueError for a character that the text does not have. With `unknown="</u>"`
    all such characters get the id after the others, which decodes to that string.

    >>> tokenizer = CharTokenizer.train("hello world")
    >>> tokenizer.encode("hold")
    [3, 5, 4, 1]
    >>> tokenizer.decode([3, 5, 4, 1])
    'hold'
    """

    _format = "bpe_rs.characters"
    _keys = ("symbols", "unknown")

    @classmethod
    def train(cls, source: str | Iterable[str], *, unknown: str | None = None) -> CharTokenizer:
        """Collect the characters of a text, or of several; ValueError when there are none."""
        return cls(_core.distinct_characters(_texts(source)), unknown)

    def _parts(self) -> tuple[Any, ...]:
        return self.symbols, self.unknown

    def __hash__(self) -> int:
        return hash(self.symbols)

    def __repr__(self) -> str:
        return f"<CharTokenizer with {self.vocab_size} characters>"


def _texts(source: str | Iterable[str]) -> str | Iterable[str]:
    """`source`, if it is not meant as a path. Raises TypeError or ValueError for one that is."""
    if isinstance(source, os.PathLike) or is_file_name(source):
        raise (TypeError if isinstance(source, os.PathLike) else ValueError)(
            f"source: expected a text or several, got {str(source)!r}, which looks like the "
            "name of a file; pass Path(...).read_text()"
        )
    return source
