"""`Encoding`: text to ids and back. The hot methods are Rust methods, inherited."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from bpe_rs import _core, _files

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

_loaded: dict[str, Encoding] = {}
_lock = threading.Lock()


def list_encoding_names() -> list[str]:
    """Names that `get_encoding` knows."""
    return _core.list_encoding_names()


def get_encoding(encoding_name: str) -> Encoding:
    """The published encoding of that name, one object a process; its tables are in the wheel.

    Raises `ValueError` for a name that is not in `list_encoding_names()`.
    """
    found = _loaded.get(encoding_name)
    if found is not None:
        return found
    if not isinstance(encoding_name, str):
        raise ValueError(f"expected the name of an encoding as a str, got {encoding_name!r}")
    with _lock:
        if encoding_name not in _loaded:
            if encoding_name not in _core.list_encoding_names():
                known = ", ".join(list_encoding_names())
                raise ValueError(f"expected one of {known}, got {encoding_name!r}")
            _loaded[encoding_name] = Encoding(encoding_name)
        return _loaded[encoding_name]


def encoding_for_model(model_name: str) -> Encoding:
    """The encoding that a published model uses.

    Raises `KeyError` for a model that is not known.
    """
    from bpe_rs._models import encoding_name_for_model

    return get_encoding(encoding_name_for_model(model_name))


class Encoding(_core.Encoding):
    """A vocabulary, a pattern and special tokens.

    `Encoding(name, *, pat_str, mergeable_ranks, special_tokens, explicit_n_vocab=None)`, as in
    tiktoken; `pat_str` is a regular expression or a named pattern ("gpt2", "cl100k", "o200k",
    "llama3", "qwen2"). Published encodings come from `get_encoding`.
    """

    @property
    def special_tokens_set(self) -> set[str]:
        """The special tokens' texts."""
        return set(self.special_tokens)

    @property
    def n_vocab(self) -> int:
        """The highest id plus one."""
        return self.max_token_value + 1

    @property
    def eot_token(self) -> int:
        """The id of `<|endoftext|>`. Raises `KeyError` where there is none."""
        return self.special_tokens["<|endoftext|>"]

    def is_special_token(self, token: int) -> bool:
        """Whether `token` is the id of a special token."""
        return token in self.special_tokens.values()

    def decode_tokens_bytes(self, tokens: Iterable[int]) -> list[bytes]:
        """The bytes of each token. Raises `KeyError` for an id that is no token."""
        return [self.decode_single_token_bytes(token) for token in tokens]

    def decode_batch(self, batch: Sequence[Sequence[int]], *, errors: str = "replace") -> list[str]:
        """`decode` of each row."""
        return [self.decode(row, errors) for row in batch]

    def decode_bytes_batch(self, batch: Sequence[Sequence[int]]) -> list[bytes]:
        """`decode_bytes` of each row."""
        return [self.decode_bytes(row) for row in batch]

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        format: _files.Format | None = None,
        name: str | None = None,
        pattern: str | None = None,
        special_tokens: Mapping[str, int] | None = None,
    ) -> Self:
        """Read a `tokenizer.json`, a `.tiktoken` file or a `vocab.json` with its `merges.txt`.

        `path` may be a folder that holds one. `format` ("tiktoken", "tokenizer.json",
        "vocab.json") is by the file's name. `pattern` and `special_tokens` are for what the file
        does not say: a `.tiktoken` file has a side file `NAME.tiktoken.json` for both (the
        published ones need none), `vocab.json` is GPT-2's pattern and special tokens are what no
        merge makes.

        Raises `ValueError` for a file that is not of its format or that holds what an `Encoding`
        does not reproduce exactly (`bpe_rs.hf.Tokenizer` knows more), and `OSError`.
        """
        return _files.load(
            cls, path, format=format, name=name, pattern=pattern, special_tokens=special_tokens
        )

    def save(
        self, path: str | os.PathLike[str], *, format: _files.Format | None = None
    ) -> list[Path]:
        """Write the encoding; returns the files written, each replaced whole or not at all.

        The format is by the file's name: `NAME.tiktoken` (with a side file for pattern and
        special tokens), `vocab.json` (with `merges.txt`), other `.json` for `tokenizer.json`.

        Raises `ValueError` where the format cannot hold the encoding exactly, and `OSError`.
        """
        return _files.save(self, path, format=format)

    def __reduce__(self) -> tuple[Any, ...]:
        if self is _loaded.get(self.name):
            return get_encoding, (self.name,)
        if not self._is_ranked:
            return _files.reduce(self)
        parts = (self.name, self.pat_str, self.mergeable_ranks, self.special_tokens)
        return _rebuild, (type(self), *parts)


def _rebuild(
    kind: type[Encoding],
    name: str,
    pat_str: str,
    mergeable_ranks: dict[bytes, int],
    special_tokens: dict[str, int],
) -> Encoding:
    return kind(
        name, pat_str=pat_str, mergeable_ranks=mergeable_ranks, special_tokens=special_tokens
    )
