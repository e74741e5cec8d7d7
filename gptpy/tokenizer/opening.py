"""Tokenizers of every kind: opened, trained, used and saved in this one place.

The rest of the package knows a tokenizer by the protocol `Tokenizer` and these functions only.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from gptpy.config.errors import ConfigError
from gptpy.tokenizer.bpe import bpe_rs
from gptpy.tokenizer.foreign import (
    ENDS,
    ForeignTokenizer,
    read_byte_level,
    read_characters,
    read_foreign,
    read_word_pieces,
)
from gptpy.tokenizer.published import read_object
from gptpy.tokenizer.simple import (
    FORMAT,
    NumberTokenizer,
    is_word_level_file,
    read_word_level,
    train_characters,
    train_words,
)

END_OF_TEXT = "<|endoftext|>"
FILE_NAME = "tokenizer.json"


class Tokenizer(Protocol):
    """What the package needs of a tokenizer: `bpe_rs.Encoding` or `WordLevelTokenizer`."""

    name: str

    @property
    def n_vocab(self) -> int:
        """One more than the largest id."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of what decides the ids."""
        ...

    @property
    def special_tokens_set(self) -> set[str]:
        """Texts of the special tokens."""
        ...

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`, special tokens encoded as plain text."""
        ...

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of one token; `KeyError` where there is none."""
        ...

    def decode(self, tokens: Sequence[int], errors: str = "replace") -> str:
        """The text of ids."""
        ...

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """The bytes of ids."""
        ...


def open_tokenizer(spec: str | Path) -> Tokenizer:
    """Open a tokenizer.

    `spec`: a file (`tokenizer.json`, `.tiktoken`), a folder that holds `tokenizer.json`,
    `vocab.json` and `merges.txt`, or BERT's `vocab.txt` (a run directory, a prepared data set, a
    Hugging Face model), or a published name (`gpt2`, `cl100k_base`). Any `tokenizer.json` of
    Hugging Face that is no byte-level BPE is used as it is (`ForeignTokenizer`). Raises
    `ConfigError` naming what was tried.
    """
    path = Path(spec)
    if path.is_dir():
        for name in (FILE_NAME, "vocab.json"):
            if (path / name).is_file():
                return _from_file(path / name)
        if (path / "vocab.txt").is_file():
            return read_word_pieces(path)
        raise ConfigError(f"{path}: holds neither {FILE_NAME} nor vocab.json with merges.txt")
    if path.is_file():
        return _from_file(path)
    names = bpe_rs.list_encoding_names()
    if str(spec) in names:
        return cast(Tokenizer, bpe_rs.get_encoding(str(spec)))
    raise ConfigError(
        f"{spec}: no such file, folder or published tokenizer (known: {', '.join(names)})"
    )


def _from_file(path: Path) -> Tokenizer:
    try:
        if is_word_level_file(path):
            return read_word_level(path)
        try:
            return cast(Tokenizer, cast(Any, bpe_rs.Encoding).from_file(path))
        except ValueError as error:
            other = _other_kind(path)
            if other is None:
                raise error
            return other
    except (OSError, ValueError) as error:
        text = str(error)
        raise ConfigError(text if str(path) in text else f"{path}: {text}") from None


def _other_kind(path: Path) -> Tokenizer | None:
    """The tokenizer of a file that no `Encoding` reproduces; None for a damaged file."""
    try:
        about = read_object(path)
        if about.get("format") == FORMAT:
            return NumberTokenizer(about["n_vocab"])
        kind = about.get("model", {}).get("type", "BPE")
        if kind != "BPE":
            return read_foreign(path)
        if _is_character_level(about):
            return read_characters(path)
        # What our engine cannot reproduce either is refused for the reason that `Encoding` names
        return read_byte_level(path)
    except (ConfigError, ValueError, KeyError, AttributeError):
        return None


def _is_character_level(about: dict[str, Any]) -> bool:
    """Whether a BPE works on characters, as SentencePiece's or CLIP's, not on bytes."""
    settings = ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
    if any(about["model"].get(setting) for setting in settings):
        return True
    return '"ByteLevel"' not in json.dumps(about.get("pre_tokenizer"))


def train_tokenizer(
    source: Any,
    vocab_size: int,
    *,
    special_tokens: Sequence[str] = (END_OF_TEXT,),
    across_words: bool = False,
    **options: Any,
) -> Tokenizer:
    """Train a byte-level BPE of at most `vocab_size` ids, special tokens included.

    `source`, `options`: see `bpe_rs.train`; with `across_words`, `bpe_rs.train_superwords`. Raises
    `ConfigError` for what these refuse.
    """
    train = bpe_rs.train_superwords if across_words else bpe_rs.train
    try:
        with warnings.catch_warnings():
            # A small text has fewer merges than `vocab_size` allows: `n_vocab` tells the caller
            warnings.simplefilter("ignore", UserWarning)
            trained = train(
                source, vocab_size=vocab_size, special_tokens=list(special_tokens), **options
            )
    except (ValueError, OverflowError) as error:
        raise ConfigError(str(error)) from None
    return cast(Tokenizer, trained)


def prune_tokenizer(tokenizer: Tokenizer, source: Any, remove: int) -> Tokenizer:
    """A byte-level `tokenizer` without the tokens that `source` uses least: see `bpe_rs.prune`.

    Raises `ConfigError` for what that refuses.
    """
    try:
        return cast(Tokenizer, bpe_rs.prune(cast(Any, tokenizer), source, remove=remove))
    except (ValueError, OverflowError) as error:
        raise ConfigError(str(error)) from None


def make_tokenizer(
    spec: str,
    texts: Callable[[], Iterable[Any]],
    *,
    progress: Callable[[Any], object] | None = None,
) -> Tokenizer:
    """Open or train the tokenizer that `data.tokenizer` of a configuration names.

    `characters`, `words:MERGES` and `bytes:SIZE` are trained on `texts()`, which for `bytes` may
    also be paths of text files; anything else is what `open_tokenizer` understands. `progress` is
    called several times a second while a byte-level one is trained, with what `bpe_rs.train`
    reports; an exception that it raises stops the training. Raises `ConfigError`.
    """
    kind, _, number = spec.partition(":")
    if kind == "characters" and not number:
        return train_characters(texts())
    if kind not in ("words", "bytes") or Path(spec).exists():
        return open_tokenizer(spec)
    if not number.isdecimal() or not int(number):
        raise ConfigError(f"data.tokenizer {spec!r}: expected a number, as in {kind}:4000")
    if kind == "words":
        return train_words(texts(), int(number))
    return train_tokenizer(texts(), int(number), progress=progress or False)


def save_file(tokenizer: Tokenizer, path: Path) -> None:
    """Write a tokenizer file; the extension of `path` chooses the format.

    Raises `ConfigError` for an extension that none has.
    """
    try:
        cast(Any, tokenizer).save(path)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> Path:
    """Write `tokenizer.json` into `folder` and return its path."""
    path = folder / FILE_NAME
    save_file(tokenizer, path)
    return path


def decode_ids(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of ids; `ConfigError` for an id outside the vocabulary."""
    try:
        return tokenizer.decode(list(ids))
    except (KeyError, ValueError, OverflowError) as error:
        raise ConfigError(f"cannot decode: {error}") from None


def encode_array(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """The ids of `text` as one integer array `(n,)`, special tokens encoded as plain text."""
    return np.asarray(cast(Any, tokenizer).encode_to_numpy(text, disallowed_special=()))


def encode_batch(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The ids of all texts in one array, and where each text begins and ends.

    Text i has `ids[offsets[i] : offsets[i + 1]]`; `offsets` is `(len(texts) + 1,)`.
    """
    ids, offsets = cast(Any, tokenizer).encode_batch_to_numpy(texts, disallowed_special=())
    return np.asarray(ids), np.asarray(offsets)


def is_lossless(tokenizer: Tokenizer) -> bool:
    """Whether decoding gives the text back; only then are bits per byte of the text defined."""
    return getattr(tokenizer, "lossless", True)


def end_of_text(tokenizer: Tokenizer) -> int | None:
    """The id that ends documents, or None if the vocabulary has none of the usual ones."""
    for text in (END_OF_TEXT, "<|im_end|>", "</s>", "<|end_of_text|>", *ENDS):
        if text in tokenizer.special_tokens_set:
            return tokenizer.encode_single_token(text)
    return None


MASK = "[MASK]"


@dataclass(frozen=True)
class Reserved:
    """`end` closes a text and begins a row; `mask` stands for a token that an encoder restores.

    An id that the tokenizer lacks comes after its vocabulary; `vocab_size` counts it. A mask is
    taken from tokenizers of BERT's kind alone: so ids stay what they were in older runs.
    """

    end: int
    mask: int
    vocab_size: int


def reserve(tokenizer: Tokenizer, architecture: str, form: str) -> Reserved:
    """The special ids of a run with this `data.form`; only an encoder counts a mask."""
    size = tokenizer.n_vocab
    end = end_of_text(tokenizer)
    if end is None:
        end = size
        size += form != "stream"
    if isinstance(tokenizer, ForeignTokenizer) and MASK in tokenizer.special_tokens_set:
        return Reserved(end, tokenizer.encode_single_token(MASK), size)
    return Reserved(end, size, size + (architecture == "encoder"))
