"""`Encoding`: text to ids and back. The hot methods are Rust methods of its base class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bpe_rs import _core, _formats, _id_files, _padding
from bpe_rs._core_bpe import CoreBPE
from bpe_rs._decode_stream import DecodeStream
from bpe_rs._models import encoding_name_for_model

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

    from bpe_rs._progress import BytesCallback

T = TypeVar("T")

_loaded: dict[str, Encoding] = {}


def list_encoding_names() -> list[str]:
    """The names that `get_encoding` knows.

    >>> "o200k_base" in list_encoding_names()
    True
    """
    return _core.list_encoding_names()


def get_encoding(encoding_name: str) -> Encoding:
    """The published encoding of that name, one object a process. Its tables are in the wheel.

    Raises `ValueError` for a name that is not in `list_encoding_names()`.

    >>> get_encoding("gpt2").encode("hello world")
    [31373, 995]
    """
    found = _loaded.get(encoding_name)
    if found is not None:
        return found
    if not isinstance(encoding_name, str):
        raise ValueError(f"expected the name of an encoding as a str, got {encoding_name!r}")
    if encoding_name not in _core.list_encoding_names():
        known = ", ".join(list_encoding_names())
        raise ValueError(f"expected one of {known}, got {encoding_name!r}")
    # Atomic, and without a lock that a forked child could find held. Making one takes microseconds.
    return _loaded.setdefault(encoding_name, Encoding(encoding_name))


def encoding_for_model(model_name: str) -> Encoding:
    """The encoding that a published model uses.

    Raises `KeyError` for a model that is not known.

    >>> encoding_for_model("gpt-4o").name
    'o200k_base'
    """
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
        """The id of `<|endoftext|>`. Raises `KeyError` for an encoding without it."""
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
        """The ids that stay whatever follows `text`, and every way in which ids can cover the
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
        """The text of `tokens`, and the index of the character at which each starts. A token that
        starts inside a character has the index of that character.

        Raises `KeyError` for an id that is no token, `UnicodeDecodeError` for bytes that are not
        UTF-8.

        >>> get_encoding("gpt2").decode_with_offsets([31373, 995])
        ('hello world', [0, 5])
        """
        return text_and_offsets(self.decode_tokens_bytes(tokens))

    def decode_batch(
        self,
        batch: Iterable[Sequence[int]],
        *,
        errors: str = "replace",
        num_threads: int | None = None,
    ) -> list[str]:
        """`decode` of each row, of long rows on `num_threads` threads (None: one per core)."""
        return _map_rows(lambda row: self.decode(row, errors), batch, num_threads)

    def decode_bytes_batch(
        self, batch: Iterable[Sequence[int]], *, num_threads: int | None = None
    ) -> list[bytes]:
        """`decode_bytes` of each row, on threads as in `decode_batch`."""
        return _map_rows(self.decode_bytes, batch, num_threads)

    # Private in tiktoken, but used by programs.

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
        return CoreBPE._of(self)

    def _encode_single_piece(self, text_or_bytes: str | bytes) -> list[int]:
        """Ids of a text that the pattern does not cut."""
        if isinstance(text_or_bytes, str):
            text_or_bytes = text_or_bytes.encode("utf-8")
        return _core.encode_single_piece(self, text_or_bytes)

    def _encode_only_native_bpe(self, text: str) -> list[int]:
        """`encode_ordinary`."""
        return self.encode_ordinary(text)

    def _encode_bytes(self, text: bytes) -> list[int]:
        """Ids of bytes that need not be UTF-8."""
        return _core.encode_bytes(self, text)

    # An encoding is immutable, so a copy is the encoding itself.

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
        progress: BytesCallback | None = None,
    ) -> npt.NDArray[np.unsignedinteger] | int:
        """The ids of files, in order: one array, or with `out` their number.

        Files are plain UTF-8 text, `.jsonl` lines or `.parquet` rows (needs pyarrow) with the text
        under `field`; all but Parquet also compressed as `.gz` or `.zst`. `separator`: a special
        token that ends a document where it occurs in a file of plain text (in a line or row it is
        plain text) and is written after every document. `special_tokens`: whether all special
        tokens in texts are recognised (by default they are plain text). `dtype`: by default uint16
        where all ids fit, else uint32. `out`: an id file, written with bounded memory, which
        appears when it is complete. `num_threads`: by default one per core. `progress` is called
        with the bytes of text encoded so far in all files; an exception that it raises stops the
        work, and so does Ctrl-C.

        Raises `ValueError` for bytes that are not UTF-8, lines or rows without strings under the
        field, a separator that is no special token; and `OSError`, also for a file that becomes
        shorter meanwhile.
        """
        return _id_files.encode_files(
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
        """Ids `(B, max_length)` int64, padded with `pad_id` at `side`, and a mask of the same shape
        that is 1 for ids of the text and 0 for padding.

        `max_length`: by default the number of ids of the longest text. `pad_id`: by default the id
        of `<|endoftext|>`, or 0.

        Raises `ValueError` for a longer text unless `truncate`, which keeps its first ids.
        """
        return _padding.encode_padded(
            self,
            texts,
            max_length,
            pad_id=pad_id,
            side=side,
            truncate=truncate,
            allowed_special=allowed_special,
            disallowed_special=disallowed_special,
        )

    def decode_stream(self, errors: str = "replace") -> DecodeStream:
        """Text of tokens that arrive one by one: `push(token)` returns the text it completes."""
        return DecodeStream(self, errors)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        format: _formats.Format | None = None,
        name: str | None = None,
        pattern: str | None = None,
        special_tokens: Mapping[str, int] | None = None,
    ) -> Self:
        """Read a `tokenizer.json`, a `.tiktoken` file or a `vocab.json` with its `merges.txt`.

        `path` may be a folder that holds one. `format` ("tiktoken", "tokenizer.json",
        "vocab.json") by default follows from the file's name. `pattern` and `special_tokens` supply
        what the file lacks: a `.tiktoken` file needs both, here or in a side file
        `NAME.tiktoken.json` (a published encoding's file needs neither); for `vocab.json` the
        pattern is GPT-2's and special tokens are those that no merge makes.

        Raises `ValueError` for a file of another format or one that an `Encoding` does not
        reproduce exactly (`bpe_rs.hf.Tokenizer` supports more), and `OSError`.
        """
        return _formats.load(
            cls, path, format=format, name=name, pattern=pattern, special_tokens=special_tokens
        )

    def save(
        self, path: str | os.PathLike[str], *, format: _formats.Format | None = None
    ) -> list[Path]:
        """Write the encoding; returns the files written, each of them atomically.

        The format by default follows from the file's name: `NAME.tiktoken` (with a side file for
        pattern and special tokens), `vocab.json` (with `merges.txt`), any other `.json` for
        `tokenizer.json`.

        Raises `ValueError` where the format cannot hold the encoding exactly, and `OSError`.
        """
        return _formats.save(self, path, format=format)

    def __reduce__(self) -> tuple[Any, ...]:
        if self is _loaded.get(self.name):
            return get_encoding, (self.name,)
        if not self._is_ranked:
            return _formats.reduce(self)
        parts = (self.name, self.pat_str, self.mergeable_ranks, self.special_tokens)
        return _rebuild, (type(self), *parts)


def text_and_offsets(tokens: list[bytes]) -> tuple[str, list[int]]:
    """The text of tokens, and the index of the character that each starts at or in."""
    offsets = []
    characters = 0
    for token in tokens:
        # A byte from 0x80 to 0xBF continues a character.
        starts_inside = 0x80 <= token[0] < 0xC0
        offsets.append(max(0, characters - starts_inside))
        characters += sum(not 0x80 <= byte < 0xC0 for byte in token)
    return b"".join(tokens).decode("utf-8", errors="strict"), offsets


# Rows of fewer ids on average are decoded on the calling thread, because passing a row to another
# thread costs more than decoding it.
_MIN_ROW_FOR_THREADS = 1 << 14


def _map_rows(
    decode: Callable[[Sequence[int]], T], batch: Iterable[Sequence[int]], num_threads: int | None
) -> list[T]:
    """`decode` of each row, in order. On Python's threads: while one holds the GIL to convert a row
    or its text, the others decode."""
    if num_threads is not None and num_threads < 1:
        raise ValueError(f"expected num_threads >= 1, got {num_threads}")
    rows = list(batch)
    if num_threads == 1 or sum(len(row) for row in rows) < _MIN_ROW_FOR_THREADS * len(rows):
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
