"""`Encoding`: text to ids and back. The hot methods are Rust methods of its base class."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from bpe_rs import _core, _formats
from bpe_rs._core_bpe import CoreBPE
from bpe_rs._decode_stream import DecodeStream
from bpe_rs._id_files import encode_files
from bpe_rs._models import known_encoding_name
from bpe_rs._padding import encode_padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from typing_extensions import Self

    from bpe_rs._sources import PathLike

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
    name = known_encoding_name(model_name)
    if name is None:
        raise KeyError(
            f"expected the name of a published model, got {model_name!r}: "
            "use get_encoding with the name of the encoding"
        )
    return get_encoding(name)


class Encoding(_core.Encoding):
    """A vocabulary, a pattern and special tokens.

    `Encoding(name, *, pat_str, mergeable_ranks, special_tokens, explicit_n_vocab=None)`, as in
    tiktoken; `pat_str` is a regular expression or a named pattern ("gpt2", "cl100k", "o200k",
    "llama3", "qwen2", "superwords"). Published encodings come from `get_encoding`.
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

    def _encode_only_native_bpe(self, text: str) -> list[int]:
        """`encode_ordinary`."""
        return self.encode_ordinary(text)

    # An encoding is immutable, so a copy is the encoding itself.

    def __copy__(self) -> Encoding:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Encoding:
        return self

    encode_files = encode_files
    encode_padded = encode_padded

    def decode_stream(self, errors: str = "replace") -> DecodeStream:
        """Text of tokens that arrive one by one: `push(token)` returns the text it completes."""
        return DecodeStream(self, errors)

    @classmethod
    def from_file(
        cls,
        path: PathLike,
        *,
        format: _formats.Format | None = None,
        name: str | None = None,
        pattern: str | None = None,
        special_tokens: Mapping[str, int] | Mapping[bytes, int] | None = None,
    ) -> Self:
        """Read a `tokenizer.json`, a `.tiktoken` file or a `vocab.json` with its `merges.txt`.

        `path` may be a folder that holds one. `format` ("tiktoken", "tokenizer.json",
        "vocab.json") by default follows from the file's name. `pattern` and `special_tokens` supply
        what the file lacks: a `.tiktoken` file needs both, here or in a side file
        `NAME.tiktoken.json` (a published encoding's file needs neither); for `vocab.json` the
        pattern is that of a `tokenizer.json` beside it, or else GPT-2's, with a warning unless the
        vocabulary is GPT-2's; special tokens are those that no merge makes.

        Raises `ValueError` for a file of another format or one that an `Encoding` does not
        reproduce exactly (`bpe_rs.hf.Tokenizer` supports more), and `OSError`.
        """
        return _formats.load(
            cls, path, format=format, name=name, pattern=pattern, special_tokens=special_tokens
        )

    save = _formats.save

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
        starts_inside = b"\x80" <= token[:1] < b"\xc0"
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
    # Imported here, because the import takes a fifth of this package's.
    from concurrent.futures import ThreadPoolExecutor

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
