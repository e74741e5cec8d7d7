"""`Encoding`: text to ids and back. The hot methods are Rust methods, inherited."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bpe_rs import _core, _extras, _files

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

    from bpe_rs.tiktoken._tiktoken import CoreBPE

T = TypeVar("T")

_loaded: dict[str, Encoding] = {}
_lock = threading.Lock()


def list_encoding_names() -> list[str]:
    """Names that `get_encoding` knows.

    >>> "o200k_base" in list_encoding_names()
    True
    """
    return _core.list_encoding_names()


def get_encoding(encoding_name: str) -> Encoding:
    """The published encoding of that name, one object a process; its tables are in the wheel.

    Raises `ValueError` for a name that is not in `list_encoding_names()`.

    >>> get_encoding("gpt2").encode("hello world")
    [31373, 995]
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

    >>> encoding_for_model("gpt-4o").name
    'o200k_base'
    """
    from bpe_rs._models import encoding_name_for_model

    return get_encoding(encoding_name_for_model(model_name))


class Encoding(_core.Encoding):
    """A vocabulary, a pattern and special tokens.

    `Encoding(name, *, pat_str, mergeable_ranks, special_tokens, explicit_n_vocab=None)`, as in
    tiktoken; `pat_str` is a regular expression or a named pattern ("gpt2", "cl100k", "o200k",
    "llama3", "qwen2"). Published encodings come from `get_encoding`.
    """

    @cached_property
    def special_tokens_set(self) -> set[str]:
        """The special tokens' texts."""
        return set(self._special_tokens)

    @property
    def n_vocab(self) -> int:
        """The highest id plus one; ids in between need not all exist."""
        return self.max_token_value + 1

    @property
    def eot_token(self) -> int:
        """The id of `<|endoftext|>`. Raises `KeyError` where there is none."""
        return self._special_tokens["<|endoftext|>"]

    def is_special_token(self, token: int) -> bool:
        """Whether `token` is the id of a special token."""
        return token in self._special_token_values

    def encode_with_unstable(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | Collection[str] | None = None,
        disallowed_special: Literal["all"] | Collection[str] | None = None,
    ) -> tuple[list[int], list[list[int]]]:
        """The ids that stay whatever follows `text`, and every way in which ids may cover the
        rest of it. Errors as `encode`.

        >>> enc = get_encoding("gpt2")
        >>> stable, ways = enc.encode_with_unstable("hello fanta")
        >>> stable, " fantastic" in [enc.decode(way) for way in ways]
        ([31373], True)
        """
        return _core.encode_with_unstable(self, text, allowed_special, disallowed_special)

    def decode_tokens_bytes(self, tokens: Iterable[int]) -> list[bytes]:
        """The bytes of each token. Raises `KeyError` for an id that is no token."""
        return [self.decode_single_token_bytes(token) for token in tokens]

    def decode_with_offsets(self, tokens: Iterable[int]) -> tuple[str, list[int]]:
        """The text of `tokens`, and where in it each of them starts; one that starts inside a
        character counts from that character.

        Raises `KeyError` for an id that is no token, `UnicodeDecodeError` for bytes that are no
        UTF-8.

        >>> get_encoding("gpt2").decode_with_offsets([31373, 995])
        ('hello world', [0, 5])
        """
        return with_offsets(self.decode_tokens_bytes(tokens))

    def decode_batch(
        self,
        batch: Iterable[Sequence[int]],
        *,
        errors: str = "replace",
        num_threads: int | None = None,
    ) -> list[str]:
        """`decode` of each row, of long ones on up to `num_threads` threads (None: all cores)."""
        return _map_rows(lambda row: self.decode(row, errors), batch, num_threads)

    def decode_bytes_batch(
        self, batch: Iterable[Sequence[int]], *, num_threads: int | None = None
    ) -> list[bytes]:
        """`decode_bytes` of each row, threads as in `decode_batch`."""
        return _map_rows(self.decode_bytes, batch, num_threads)

    # What is private in tiktoken, and used by programs all the same.

    @property
    def _pat_str(self) -> str:
        return self.pat_str

    @cached_property
    def _mergeable_ranks(self) -> dict[bytes, int]:
        return self.mergeable_ranks

    @cached_property
    def _special_tokens(self) -> dict[str, int]:
        return self.special_tokens

    @cached_property
    def _special_token_values(self) -> set[int]:
        return set(self._special_tokens.values())

    @cached_property
    def _core_bpe(self) -> CoreBPE:
        from bpe_rs.tiktoken._tiktoken import CoreBPE

        return CoreBPE._of(self)

    def _encode_single_piece(self, text_or_bytes: str | bytes) -> list[int]:
        """Ids of a text that the pattern does not cut."""
        if isinstance(text_or_bytes, str):
            text_or_bytes = text_or_bytes.encode("utf-8")
        return _core.encode_single_piece(self, text_or_bytes)

    def _encode_only_native_bpe(self, text: str) -> list[int]:
        """The same as `encode_ordinary`."""
        return self.encode_ordinary(text)

    def _encode_bytes(self, text: bytes) -> list[int]:
        """Ids of bytes that need not be UTF-8."""
        return _core.encode_bytes(self, text)

    # Nothing of an encoding changes: a copy is the encoding itself.

    def __copy__(self) -> Encoding:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Encoding:
        return self

    def encode_files(
        self,
        paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
        *,
        separator: str | None = None,
        special_tokens: bool = False,
        out: str | os.PathLike[str] | None = None,
        dtype: npt.DTypeLike | None = None,
        field: str = "text",
        num_threads: int | None = None,
        progress: _extras.Progress | None = None,
    ) -> npt.NDArray[np.unsignedinteger] | int:
        """The ids of files, in order: one array, or with `out` their count.

        Plain UTF-8 text (memory-mapped), `.jsonl` lines and `.parquet` rows (needs pyarrow) with
        the text under `field`; all but Parquet also packed as `.gz` or `.zst`. `separator`: a
        special token that ends a document where it stands in a file of plain text (in a line or
        row it is text like any other) and is written after every document. `special_tokens`:
        whether all special tokens in texts are recognised (by default they are plain text).
        `dtype`: uint16 where the ids allow, else uint32. `out`: an id file, written as it goes with
        bounded memory, there when whole. `num_threads`: by default one per core. `progress` is
        called with the bytes of text done in all files; what it raises stops the work, and so
        does Ctrl-C. Leave the files alone meanwhile: mapped memory that another process changes
        cannot be checked.

        Raises `ValueError` for bytes that are not UTF-8, lines or rows without strings under the
        field, a separator that is no special token; and `OSError`.
        """
        return _extras.encode_files(
            self,
            paths,
            separator=separator,
            special_tokens=special_tokens,
            out=out,
            dtype=dtype,
            field=field,
            num_threads=num_threads,
            progress=progress,
        )

    def encode_padded(
        self,
        texts: Sequence[str],
        max_length: int | None = None,
        *,
        pad_id: int | None = None,
        side: Literal["left", "right"] = "right",
        truncate: bool = False,
        allowed_special: Literal["all"] | AbstractSet[str] = frozenset(),
        disallowed_special: Literal["all"] | Iterable[str] = "all",
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Ids `(B, max_length)` int64, padded with `pad_id` at `side`, and their mask of ones.

        `max_length`: by default the longest text's. `pad_id`: by default `<|endoftext|>`'s, or 0.

        Raises `ValueError` for a longer text unless `truncate`, which keeps its first ids.
        """
        return _extras.encode_padded(
            self,
            texts,
            max_length,
            pad_id=pad_id,
            side=side,
            truncate=truncate,
            allowed_special=allowed_special,
            disallowed_special=disallowed_special,
        )

    def decode_stream(self, errors: str = "replace") -> _extras.DecodeStream:
        """Text of tokens that arrive one by one: `push(token)` gives what is complete."""
        return _extras.DecodeStream(self, errors)

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


def with_offsets(parts: list[bytes]) -> tuple[str, list[int]]:
    """The text of tokens, and the character that each of them starts at or in."""
    offsets = []
    characters = 0
    for part in parts:
        inside = 0x80 <= part[0] < 0xC0
        offsets.append(max(0, characters - inside))
        characters += sum(not 0x80 <= byte < 0xC0 for byte in part)
    return b"".join(parts).decode("utf-8", errors="strict"), offsets


# Below so many ids a row, handing it to another thread costs more than decoding it.
_ROW_FOR_A_THREAD = 1 << 14


def _map_rows(
    decode: Callable[[Sequence[int]], T], batch: Iterable[Sequence[int]], num_threads: int | None
) -> list[T]:
    if num_threads is not None and num_threads < 1:
        raise ValueError(f"expected num_threads >= 1, got {num_threads}")
    rows = list(batch)
    if num_threads == 1 or sum(len(row) for row in rows) < _ROW_FOR_A_THREAD * len(rows):
        return [decode(row) for row in rows]
    with ThreadPoolExecutor(num_threads or _core.available_threads()) as pool:
        return list(pool.map(decode, rows))


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
