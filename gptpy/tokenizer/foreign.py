"""Tokenizers of Hugging Face that are no byte-level BPE: used as they are, by `tokenizers`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptpy.config.errors import ConfigError
from gptpy.storage.atomic import write_text
from gptpy.tokenizer.published import read_object
from gptpy.tokenizer.simple import join_ids

# Specials that end a text, of BERT and of T5 or RoBERTa
ENDS = ("[SEP]", "</s>", "<eos>")


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
            from tokenizers import Tokenizer
        except ImportError:
            raise ConfigError(
                "a tokenizer that is no byte-level BPE needs tokenizers: pip install tokenizers"
            ) from None
        try:
            self.inner = Tokenizer.from_str(text)
        except Exception as error:  # it raises `Exception` itself
            raise ValueError(str(error)) from None
        self.inner.no_truncation()
        self.inner.no_padding()
        self.inner.encode_special_tokens = True
        self.text = text
        self.name = type(self.inner.model).__name__
        added = self.inner.get_added_tokens_decoder().values()
        self.special_tokens_set = {token.content for token in added if token.special}
        self.n_vocab = max(self.inner.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of what decides the ids."""
        about = {**json.loads(self.text), "truncation": None, "padding": None}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`, special tokens encoded as plain text."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def encode_to_numpy(self, text: str, **_: Any) -> np.ndarray:
        """The ids of `text`, uint32 `(n,)`; the options of byte-level tokenizers are ignored."""
        return np.array(self.encode_ordinary(text), dtype=np.uint32)

    def encode_batch_to_numpy(
        self, texts: Sequence[str], **_: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all texts in one array, and the offsets `(n + 1,)` of each."""
        found = self.inner.encode_batch_fast(list(texts), add_special_tokens=False)
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
