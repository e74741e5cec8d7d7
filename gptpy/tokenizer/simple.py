"""Tokenizers for learning and for small recipes, behind the interface `Tokenizer`.

One id a character, or BPE inside words with an end-of-word mark (`bpe_rs.CharTokenizer`,
`bpe_rs.WordTokenizer`); or texts that are the ids themselves.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptpy.config.errors import ConfigError
from gptpy.storage.atomic import write_text
from gptpy.tokenizer.bpe import bpe_rs

# How the files of these tokenizers begin; a byte-level tokenizer.json does not
MAGIC = b'{"format": "bpe_rs.'
END_OF_WORD = "</w>"


class _OneByOne(ABC):
    """Encodes a batch text by text."""

    @abstractmethod
    def encode_to_numpy(self, text: str, **_: Any) -> np.ndarray:
        """The ids of `text`, uint32 `(n,)`."""

    def encode_batch_to_numpy(
        self, texts: Sequence[str], **_: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all texts in one array, and the offsets `(n + 1,)` of each."""
        return join_ids([self.encode_to_numpy(text) for text in texts])


class WordLevelTokenizer(_OneByOne):
    """Adapts a `bpe_rs.CharTokenizer` or `bpe_rs.WordTokenizer` to the package's interface.

    `lossless`: whether decoding gives the text back. A word tokenizer does not keep the white space
    between words, so bits per byte of the text are not defined.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.words = hasattr(inner, "merges")
        self.name = "words" if self.words else "characters"
        self.lossless = not self.words and inner.unknown is None
        self._table: list[str] | None = None

    @property
    def n_vocab(self) -> int:
        """One more than the largest id."""
        return self.inner.vocab_size

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of what decides the ids."""
        parts = json.dumps(self.inner.__reduce__()[1], ensure_ascii=False)
        return hashlib.sha256(f"{self.name}\n{parts}".encode()).hexdigest()

    @property
    def special_tokens_set(self) -> set[str]:
        """Texts of the special tokens: unknown and padding of a word tokenizer."""
        return {self.inner.id_to_token(i) for i in (0, 1)} if self.words else set()

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`; `ConfigError` for a character that a character tokenizer lacks."""
        return self.encode_to_numpy(text).tolist()

    def encode_to_numpy(self, text: str, **_: Any) -> np.ndarray:
        """The ids of `text`, uint32 `(n,)`; the options of byte-level tokenizers are ignored.

        Raises `ConfigError` for a character that a character tokenizer lacks.
        """
        try:
            return np.asarray(self.inner.encode_to_numpy(text))
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of one token; `KeyError` where there is none."""
        text = text_or_bytes if isinstance(text_or_bytes, str) else text_or_bytes.decode("utf-8")
        if text not in self._tokens():
            raise KeyError(text)
        return self._tokens().index(text)

    def decode(self, tokens: Sequence[int], errors: str = "replace") -> str:
        """The text of ids, a space after each word; `KeyError` for an id outside the vocabulary."""
        table = self._tokens()
        text = "".join(table[i] if 0 <= i < len(table) else _outside(i) for i in tokens)
        return text.replace(END_OF_WORD, " ") if self.words else text

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """The text of ids as UTF-8."""
        return self.decode(tokens).encode("utf-8")

    def save(self, path: str | Path) -> None:
        """Write the tokenizer's own JSON file."""
        self.inner.save(path)

    def _tokens(self) -> list[str]:
        if self._table is None:
            if self.words:
                self._table = [self.inner.id_to_token(i) for i in range(self.n_vocab)]
            else:
                unknown = [] if self.inner.unknown is None else [self.inner.unknown]
                self._table = [*self.inner.symbols, *unknown]
        return self._table


def _outside(token: int) -> str:
    raise KeyError(token)


def is_word_level_file(path: Path) -> bool:
    """Whether `path` was written by `WordLevelTokenizer.save`."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_word_level(path: Path) -> WordLevelTokenizer:
    """The tokenizer of a file; raises `ValueError` when it is damaged."""
    with path.open("rb") as file:
        words = file.read(len(MAGIC) + 5)[len(MAGIC) :] == b"words"
    kind = bpe_rs.WordTokenizer if words else bpe_rs.CharTokenizer
    return WordLevelTokenizer(kind.load(path))


def train_characters(texts: Iterable[str]) -> WordLevelTokenizer:
    """One id for each distinct character; `ConfigError` for a text without any."""
    try:
        return WordLevelTokenizer(bpe_rs.CharTokenizer.train(texts))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def train_words(texts: Iterable[str], merges: int) -> WordLevelTokenizer:
    """Word-level BPE with at most `merges` merges; `ConfigError` for a text without words."""
    try:
        with warnings.catch_warnings():
            # A small text allows fewer merges: `n_vocab` tells the caller
            warnings.simplefilter("ignore", UserWarning)
            return WordLevelTokenizer(bpe_rs.WordTokenizer.train(texts, num_merges=merges))
    except ValueError as error:
        raise ConfigError(str(error)) from None


FORMAT = "gptpy.numbers"


class NumberTokenizer(_OneByOne):
    """The text of the ids 3, 1 and 2 is `3 1 2`; white space between numbers may be any."""

    name = "numbers"
    lossless = False

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.special_tokens_set: set[str] = set()

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of what decides the ids."""
        return hashlib.sha256(f"{self.name}\n{self.n_vocab}".encode()).hexdigest()

    def encode_ordinary(self, text: str) -> list[int]:
        """The numbers of `text`; `ConfigError` for anything else."""
        words = text.split()
        for word in words:
            if not (word.isascii() and word.isdecimal() and int(word) < self.n_vocab):
                raise ConfigError(
                    f"this run was trained on ids without a tokenizer, its texts are numbers from "
                    f"0 to {self.n_vocab - 1}: got {word!r}"
                )
        return [int(word) for word in words]

    def encode_to_numpy(self, text: str, **_: Any) -> np.ndarray:
        """`encode_ordinary` as uint32 `(n,)`."""
        return np.array(self.encode_ordinary(text), dtype=np.uint32)

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of one number; `KeyError` for anything else."""
        text = text_or_bytes if isinstance(text_or_bytes, str) else text_or_bytes.decode("utf-8")
        if not text.isdecimal() or int(text) >= self.n_vocab:
            raise KeyError(text)
        return int(text)

    def decode(self, tokens: Sequence[int], errors: str = "replace") -> str:
        """The ids as numbers, a space before each."""
        return "".join(f" {int(token)}" for token in tokens)

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """The text of ids as UTF-8."""
        return self.decode(tokens).encode("utf-8")

    def save(self, path: str | Path) -> None:
        """Write the tokenizer's own JSON file."""
        about = {"format": FORMAT, "n_vocab": self.n_vocab}
        write_text(path, json.dumps(about) + "\n")


def join_ids(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All ids, uint32, and the offsets `(n + 1,)` of each of the `n` rows in them."""
    offsets = np.cumsum([0, *(len(row) for row in rows)])
    return np.concatenate([np.empty(0, np.uint32), *rows]), offsets
