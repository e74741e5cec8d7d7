"""Texts that are the ids themselves, for models trained on ids of whatever origin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptpy.config.errors import ConfigError
from gptpy.storage.atomic import write_text
from gptpy.tokenizer.joined import join_ids

FORMAT = "gptpy.numbers"


class NumberTokenizer:
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

    def encode_batch_to_numpy(
        self, texts: Sequence[str], **_: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all texts in one array, and the offsets `(n + 1,)` of each."""
        return join_ids([self.encode_to_numpy(text) for text in texts])

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
