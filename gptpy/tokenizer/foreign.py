"""Tokenizers of Hugging Face that `bpe_rs.Encoding` does not read, used as they are.

Any BPE runs on `bpe_rs.hf`, other models (WordPiece, Unigram) on the package `tokenizers`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptpy.config.errors import ConfigError
from gptpy.storage.atomic import write_text
from gptpy.tokenizer.published import read_object
from gptpy.tokenizer.simple import join_ids

# Specials that end a text, of BERT and of T5 or RoBERTa
ENDS = ("[SEP]", "</s>", "<eos>")
# The characters that stand for bytes in byte-level vocabularies: printable ones for themselves, the
# others in order from U+0100 on
_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_REST = sorted({*range(0x100)} - _PRINTABLE)
BYTE_OF = {chr(b): b for b in _PRINTABLE} | {chr(0x100 + n): b for n, b in enumerate(_REST)}


class ForeignTokenizer:
    """Adapts a `tokenizer.json` of any kind (WordPiece, Unigram, ...) to the package's interface.

    `text`: the content of the file, which `save` writes as it is. Special tokens in texts are plain
    text, and none are added. Decoding need not give the text back, so bits per byte of the text are
    not defined. Raises `ConfigError` without the package `tokenizers`, `ValueError` for a file that
    it cannot read.
    """

    lossless = False

    def __init__(self, text: str) -> None:
        try:
            self.inner = self._library().from_str(text)
        except Exception as error:  # it raises `Exception` itself
            if isinstance(error, ConfigError):
                raise
            raise ValueError(str(error)) from None
        self.inner.no_truncation()
        self.inner.no_padding()
        self.inner.encode_special_tokens = True
        self._plain: Any = self.inner
        """Encodes texts: special tokens in them are plain text."""
        about = without_special_pieces(text)
        if about is not None:
            self._plain = self.inner.from_str(about)
            self._plain.no_truncation()
            self._plain.no_padding()
            self._plain.encode_special_tokens = True
        self.text = text
        self.name = type(self.inner.model).__name__
        added = self.inner.get_added_tokens_decoder().values()
        self.special_tokens_set = {token.content for token in added if token.special}
        self.n_vocab = max(self.inner.get_vocab(with_added_tokens=True).values()) + 1

    def _library(self) -> Any:
        """The class that reads the file."""
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise ConfigError(
                "a tokenizer that is no byte-level BPE needs tokenizers: pip install tokenizers"
            ) from None
        return Tokenizer

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of what decides the ids."""
        about = {**json.loads(self.text), "truncation": None, "padding": None}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`, special tokens encoded as plain text."""
        return self._plain.encode(text, add_special_tokens=False).ids

    def encode_with_special(self, text: str) -> list[int]:
        """The ids of `text`, special tokens in it taken as tokens."""
        return self._parsing.encode(text, add_special_tokens=False).ids

    @functools.cached_property
    def _parsing(self) -> Any:
        parsing: Any = self.inner.from_str(self.text)
        parsing.no_truncation()
        parsing.no_padding()
        return parsing

    def encode_parts(self, parts: Iterable[tuple[str, bool]]) -> list[int]:
        """The ids of a text in parts: special tokens (True), and text between them that is plain.

        As `encode_with_special`, but for special tokens inside the plain parts.
        """
        ids: list[int] = []
        for text, is_special in parts:
            if is_special:
                ids.append(self.encode_single_token(text))
            else:
                ids += self._later(text) if ids else self.encode_ordinary(text)
        return ids

    def _later(self, text: str) -> list[int]:
        """The ids of a plain part that is not the first; some tokenizers begin that alone anew."""
        special = min(self.special_tokens_set, default="")
        if self.encode_with_special(special + "a")[1:] == self.encode_ordinary("a"):
            return self.encode_ordinary(text)
        before = self.encode_ordinary("\n")  # stands for what is before, and no word joins it
        ids = self.encode_ordinary("\n" + text)
        return ids[len(before) :] if ids[: len(before)] == before else self.encode_ordinary(text)

    def encode_to_numpy(self, text: str, **_: Any) -> np.ndarray:
        """The ids of `text`, uint32 `(n,)`; the options of byte-level tokenizers are ignored."""
        return np.array(self.encode_ordinary(text), dtype=np.uint32)

    def encode_batch_to_numpy(
        self, texts: Sequence[str], **_: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all texts in one array, and the offsets `(n + 1,)` of each."""
        found = self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
        return join_ids([np.array(one.ids, dtype=np.uint32) for one in found])

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of one token; `KeyError` where there is none."""
        text = text_or_bytes if isinstance(text_or_bytes, str) else text_or_bytes.decode("utf-8")
        found = self.inner.token_to_id(text)
        if found is None:
            raise KeyError(text)
        return found

    def decode(self, tokens: Sequence[int], errors: str = "replace") -> str:
        """The text of ids, special tokens too; `KeyError` for an id outside the vocabulary."""
        for token in tokens:
            if self.inner.id_to_token(int(token)) is None:
                raise KeyError(token)
        return self.inner.decode([int(token) for token in tokens], skip_special_tokens=False)

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """The text of ids as UTF-8, as it stands after other tokens: with the space before it."""
        # The same tokens twice: decoders strip what begins a text
        once = self.decode(tokens)
        twice = self.decode([*tokens, *tokens])
        return (twice[len(once) :] if twice.startswith(once) else once).encode("utf-8")

    def save(self, path: str | Path) -> None:
        """Write the `tokenizer.json` as it was read."""
        write_text(path, self.text)


def without_special_pieces(text: str) -> str | None:
    """A `tokenizer.json` whose model makes no special token of plain text; None if it never does.

    A vocabulary may list them as pieces like others. They get names here that no text contains.
    """
    about = json.loads(text)
    model = about["model"]
    special = {token["content"] for token in about["added_tokens"] if token["special"]}
    special.discard(model.get("unk_token"))  # what is unknown becomes it in any case
    vocab = model["vocab"]
    if not special.intersection(vocab if isinstance(vocab, dict) else (row[0] for row in vocab)):
        return None
    secret = secrets.token_hex(16)

    def renamed(piece: str) -> str:
        return f"{secret}{piece}" if piece in special else piece

    if isinstance(vocab, dict):
        model["vocab"] = {renamed(piece): number for piece, number in vocab.items()}
    else:
        model["vocab"] = [[renamed(piece), *score] for piece, *score in vocab]
    about["added_tokens"] = [t for t in about["added_tokens"] if t["content"] not in special]
    return json.dumps(about)


class CharacterPipeline(ForeignTokenizer):
    """A BPE of characters, as SentencePiece's or CLIP's, on our own engine for such files.

    Raises `ValueError` for what that does not reproduce exactly.
    """

    def _library(self) -> Any:
        from bpe_rs.hf import Tokenizer

        return Tokenizer


class ByteLevelPipeline(CharacterPipeline):
    """A byte-level BPE with steps that `bpe_rs.Encoding` lacks, as Qwen's normalisation.

    Ids are bytes as in every byte-level vocabulary.
    """

    def decode(self, tokens: Sequence[int], errors: str = "replace") -> str:
        """The text of ids, special tokens too; `KeyError` for an id outside the vocabulary."""
        return self.decode_bytes(tokens).decode("utf-8", errors)

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """The bytes of ids; `KeyError` for an id outside the vocabulary."""
        return b"".join(self._bytes_of(int(token)) for token in tokens)

    def _bytes_of(self, token: int) -> bytes:
        text = self._added.get(token)
        if text is not None:
            return text.encode("utf-8")
        text = self.inner.id_to_token(token)
        if text is None:
            raise KeyError(token)
        return bytes(BYTE_OF[character] for character in text)

    @functools.cached_property
    def _added(self) -> dict[int, str]:
        return {i: token.content for i, token in self.inner.get_added_tokens_decoder().items()}


def read_byte_level(path: Path) -> ByteLevelPipeline:
    """The tokenizer of such a `tokenizer.json`; `ValueError` for what is not reproduced exactly."""
    return ByteLevelPipeline(path.read_text(encoding="utf-8"))


def read_characters(path: Path) -> ForeignTokenizer:
    """The tokenizer of a BPE of characters; by `tokenizers` where our engine is not exact."""
    text = path.read_text(encoding="utf-8")
    try:
        return CharacterPipeline(text)
    except ValueError:
        return ForeignTokenizer(text)


def read_foreign(path: Path) -> ForeignTokenizer:
    """The tokenizer of a `tokenizer.json`; raises as `ForeignTokenizer`."""
    return ForeignTokenizer(path.read_text(encoding="utf-8"))


def read_word_pieces(folder: Path) -> ForeignTokenizer:
    """BERT's tokenizer of a folder that has only its `vocab.txt`."""
    try:
        from tokenizers import BertWordPieceTokenizer
    except ImportError:
        raise ConfigError(f"{folder}: vocab.txt needs tokenizers: pip install tokenizers") from None
    lower = read_object(folder / "tokenizer_config.json").get("do_lower_case", True)
    made: Any = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lower)
    return ForeignTokenizer(made.to_str())
