"""`Encoding` with tiktoken's signatures.

A plain Python class around a `bpe_rs.Encoding`, so that what programs do to tiktoken's class works
here, too: derive from it with another constructor, replace a method in a test, look at `vars`,
compare signatures. This costs a Python frame a call, which `bpe_rs.Encoding` avoids.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from bpe_rs import _encoding
from bpe_rs._core_bpe import CoreBPE
from bpe_rs.tiktoken import _plugins

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Attributes that a deep copy shares, because they are immutable. All others are copied.
_SHARED = ("_encoding", "_core_bpe")


class Encoding:
    """Text to ids and back, as `tiktoken.Encoding`.

    >>> from bpe_rs import tiktoken
    >>> enc = tiktoken.get_encoding("gpt2")
    >>> enc.encode("hello world<|endoftext|>", allowed_special="all")
    [31373, 995, 50256]
    """

    def __init__(
        self,
        name: str,
        *,
        pat_str: str,
        mergeable_ranks: dict[bytes, int],
        special_tokens: dict[str, int],
        explicit_n_vocab: int | None = None,
    ):
        """Make an encoding from its parts.

        name: its name; a registered encoding is pickled by it.
        pat_str: the regular expression that cuts text before merging.
        mergeable_ranks: the rank, which is also the id, of every token.
        special_tokens: the ids of the special tokens.
        explicit_n_vocab: if given, the number of tokens that there must be.

        Raises ValueError for a bad pattern, no tokens, two tokens of one rank, or an empty
        special token; AssertionError when the number of tokens is not `explicit_n_vocab`.
        """
        highest = max(
            max(mergeable_ranks.values(), default=-1), max(special_tokens.values(), default=-1)
        )
        if explicit_n_vocab is not None:
            count = len(mergeable_ranks) + len(special_tokens)
            assert count == explicit_n_vocab, f"expected {explicit_n_vocab} tokens, got {count}"
            assert highest == explicit_n_vocab - 1, (
                f"expected {explicit_n_vocab - 1} as the highest id, got {highest}"
            )
        if not isinstance(pat_str, str):
            raise TypeError(f"pat_str must be a str, got {type(pat_str).__name__}")
        if not mergeable_ranks:
            raise ValueError("mergeable_ranks is empty: an encoding needs at least one token")
        encoding = _encoding.Encoding(
            str(name),
            pat_str=pat_str,
            mergeable_ranks=mergeable_ranks,
            special_tokens=special_tokens,
        )
        self._hold(encoding, name)
        self._mergeable_ranks = mergeable_ranks
        self._special_tokens = special_tokens
        self._pat_str = pat_str

    def _hold(self, encoding: _encoding.Encoding, name: str) -> None:
        self.name = name
        self._encoding = encoding
        self._core_bpe = CoreBPE._of(encoding)
        self._pat_str = encoding.pat_str
        self._special_tokens = encoding.special_tokens
        self._special_token_values = set(self._special_tokens.values())
        self.max_token_value = encoding.max_token_value

    @classmethod
    def _of(cls, encoding: _encoding.Encoding) -> Encoding:
        """An encoding with this class's methods; nothing is copied."""
        made = cls.__new__(cls)
        made._hold(encoding, encoding.name)
        return made

    @functools.cached_property
    def _mergeable_ranks(self) -> dict[bytes, int]:
        return self._encoding.mergeable_ranks

    def __repr__(self) -> str:
        return f"<Encoding {self.name!r}>"

    def __getattr__(self, name: str) -> Any:
        # Methods that tiktoken does not have: `count`, `encode_files`, `save`, ...
        if not name.startswith("_") and "_encoding" in vars(self):
            return getattr(self._encoding, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ---- encoding

    def encode_ordinary(self, text: str) -> list[int]:
        """Ids of a text, special tokens as plain text.

        >>> from bpe_rs import tiktoken
        >>> tiktoken.get_encoding("gpt2").encode_ordinary("hello world")
        [31373, 995]
        """
        return self._encoding.encode_ordinary(text)

    def encode(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | AbstractSet[str] = set(),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> list[int]:
        """Ids of a text.

        allowed_special: special tokens that are encoded as such; "all" for all of them.
        disallowed_special: strings that make the text a ValueError; "all" for every special token
        that is not allowed. Special tokens that are in neither are plain text.

        >>> from bpe_rs import tiktoken
        >>> enc = tiktoken.get_encoding("gpt2")
        >>> enc.encode("<|endoftext|>", allowed_special={"<|endoftext|>"})
        [50256]
        >>> enc.encode("<|endoftext|>", disallowed_special=())
        [27, 91, 437, 1659, 5239, 91, 29]
        """
        if disallowed_special == "all" and type(allowed_special) is set and not allowed_special:
            return self._encoding.encode(text)
        allowed, disallowed = self._special(allowed_special, disallowed_special)
        return self._encoding.encode(text, allowed_special=allowed, disallowed_special=disallowed)

    def encode_to_numpy(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | AbstractSet[str] = set(),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> npt.NDArray[np.uint32]:
        """`encode` to an array of unsigned 32-bit numbers."""
        if disallowed_special == "all" and type(allowed_special) is set and not allowed_special:
            return self._encoding.encode_to_numpy(text)
        allowed, disallowed = self._special(allowed_special, disallowed_special)
        return self._encoding.encode_to_numpy(
            text, allowed_special=allowed, disallowed_special=disallowed
        )

    def encode_ordinary_batch(self, text: list[str], *, num_threads: int = 8) -> list[list[int]]:
        """`encode_ordinary` of each text, on several threads."""
        texts = list(text)
        return self._encoding.encode_ordinary_batch(texts, num_threads=_threads(num_threads))

    def encode_batch(
        self,
        text: list[str],
        *,
        num_threads: int = 8,
        allowed_special: Literal["all"] | AbstractSet[str] = set(),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> list[list[int]]:
        """`encode` of each text, on several threads."""
        allowed, disallowed = self._special(allowed_special, disallowed_special)
        return self._encoding.encode_batch(
            list(text),
            num_threads=_threads(num_threads),
            allowed_special=allowed,
            disallowed_special=disallowed,
        )

    def encode_with_unstable(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | AbstractSet[str] = set(),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> tuple[list[int], list[list[int]]]:
        """The ids that stay whatever follows the text, and the ways in which ids can cover
        the rest of it, in no particular order.

        >>> from bpe_rs import tiktoken
        >>> enc = tiktoken.get_encoding("gpt2")
        >>> stable, ways = enc.encode_with_unstable("hello fanta")
        >>> stable, " fantastic" in [enc.decode(way) for way in ways]
        ([31373], True)
        """
        allowed, disallowed = self._special(allowed_special, disallowed_special)
        return self._encoding.encode_with_unstable(
            text, allowed_special=allowed, disallowed_special=disallowed
        )

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of exactly one token; KeyError for a text that is no token.

        >>> from bpe_rs import tiktoken
        >>> tiktoken.get_encoding("gpt2").encode_single_token("hello")
        31373
        """
        if isinstance(text_or_bytes, str):
            text_or_bytes = text_or_bytes.encode("utf-8")
        try:
            return self._encoding.encode_single_token(text_or_bytes)
        except KeyError:
            raise KeyError(text_or_bytes) from None

    def _special(
        self, allowed: Literal["all"] | AbstractSet[str], disallowed: Any
    ) -> tuple[AbstractSet[str], Collection[str]]:
        """Both arguments as sets of strings."""
        if isinstance(allowed, str) and allowed == "all":
            allowed = self.special_tokens_set
        elif not isinstance(allowed, AbstractSet):
            raise TypeError(
                "allowed_special must be 'all' or a set of special tokens, "
                f"got {type(allowed).__name__}: {allowed!r}"
            )
        if isinstance(disallowed, str) and disallowed == "all":
            disallowed = self.special_tokens_set - allowed
        elif not disallowed:
            return allowed, ()
        disallowed = frozenset(disallowed)
        if "" in disallowed:
            raise_disallowed_special_token("")
        return allowed, disallowed

    # ---- decoding

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """The bytes of ids; KeyError for an id that is no token.

        >>> from bpe_rs import tiktoken
        >>> tiktoken.get_encoding("gpt2").decode_bytes([31373, 995])
        b'hello world'
        """
        return self._encoding.decode_bytes(tokens)

    def decode(self, tokens: Sequence[int], errors: str = "replace") -> str:
        """The text of ids; `errors` says what becomes of bytes that are no UTF-8.

        >>> from bpe_rs import tiktoken
        >>> tiktoken.get_encoding("gpt2").decode([31373, 995])
        'hello world'
        """
        return self._encoding.decode(tokens, errors)

    def decode_single_token_bytes(self, token: int) -> bytes:
        """The bytes of one id; KeyError for an id that is no token."""
        try:
            return self._encoding.decode_single_token_bytes(token)
        except KeyError:
            raise KeyError(str(token)) from None

    def decode_tokens_bytes(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes of each id.

        >>> from bpe_rs import tiktoken
        >>> tiktoken.get_encoding("gpt2").decode_tokens_bytes([31373, 995])
        [b'hello', b' world']
        """
        return [self.decode_single_token_bytes(token) for token in tokens]

    def decode_with_offsets(self, tokens: Sequence[int]) -> tuple[str, list[int]]:
        """The text of ids, and where in it each token starts.

        A token that starts inside a character counts from that character. Raises
        UnicodeDecodeError for bytes that are no UTF-8.

        >>> from bpe_rs import tiktoken
        >>> tiktoken.get_encoding("gpt2").decode_with_offsets([31373, 995])
        ('hello world', [0, 5])
        """
        return _encoding.text_and_offsets(self.decode_tokens_bytes(tokens))

    def decode_batch(
        self, batch: Sequence[Sequence[int]], *, errors: str = "replace", num_threads: int = 8
    ) -> list[str]:
        """`decode` of each row."""
        return self._encoding.decode_batch(batch, errors=errors, num_threads=_threads(num_threads))

    def decode_bytes_batch(
        self, batch: Sequence[Sequence[int]], *, num_threads: int = 8
    ) -> list[bytes]:
        """`decode_bytes` of each row."""
        return self._encoding.decode_bytes_batch(batch, num_threads=_threads(num_threads))

    # ---- the vocabulary

    def token_byte_values(self) -> list[bytes]:
        """The bytes of every mergeable token, sorted."""
        return self._encoding.token_byte_values()

    @property
    def eot_token(self) -> int:
        """The id of `<|endoftext|>`; KeyError when there is none."""
        return self._special_tokens["<|endoftext|>"]

    @functools.cached_property
    def special_tokens_set(self) -> set[str]:
        """The special tokens."""
        return set(self._special_tokens)

    def is_special_token(self, token: int) -> bool:
        """Whether an id is that of a special token."""
        assert isinstance(token, int), f"expected an int, got {type(token).__name__}"
        return token in self._special_token_values

    @property
    def n_vocab(self) -> int:
        """The highest id plus one; ids in between need not all exist."""
        return self.max_token_value + 1

    # ---- private in tiktoken, but used by programs

    def _encode_single_piece(self, text_or_bytes: str | bytes) -> list[int]:
        """Ids of a text that the pattern does not cut.

        >>> from bpe_rs import tiktoken
        >>> tiktoken.get_encoding("gpt2")._encode_single_piece("hello world")
        [31373, 995]
        """
        if isinstance(text_or_bytes, str):
            text_or_bytes = text_or_bytes.encode("utf-8")
        return self._encoding._encode_single_piece(text_or_bytes)

    def _encode_only_native_bpe(self, text: str) -> list[int]:
        """`encode_ordinary` by another path, in tiktoken: the same ids."""
        # Unlike `encode_ordinary`, tiktoken refuses lone surrogates here.
        str.encode(text, "utf-8")
        return self._encoding.encode_ordinary(text)

    def _encode_bytes(self, text: bytes) -> list[int]:
        """Ids of bytes that need not be UTF-8."""
        return self._encoding._encode_bytes(text)

    # ---- copies

    def __getstate__(self) -> object:
        # A registered encoding is found by its name wherever it is unpickled.
        if _plugins.ENCODINGS.get(self.name) is self:
            return self.name
        return {
            "name": self.name,
            "pat_str": self._pat_str,
            "mergeable_ranks": self._mergeable_ranks,
            "special_tokens": self._special_tokens,
        }

    def __setstate__(self, value: object) -> None:
        if isinstance(value, str):
            self.__dict__ = _plugins.encoding(value, Encoding).__dict__
        else:
            Encoding.__init__(self, **value)  # pyright: ignore[reportCallIssue]

    def __copy__(self) -> Encoding:
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Encoding:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        for key, value in vars(self).items():
            made.__dict__[key] = value if key in _SHARED else copy.deepcopy(value, memo)
        return made


def _threads(num_threads: Any) -> int | None:
    """`num_threads` as the engine takes it, with tiktoken's error; None is one per core."""
    if num_threads is None:
        return None
    if num_threads <= 0:
        raise ValueError("max_workers must be greater than 0")
    return max(1, int(num_threads))


@functools.lru_cache(maxsize=128)
def _special_token_regex(tokens: frozenset[str]) -> re.Pattern[str]:
    """The regular expression that finds any of the tokens."""
    return re.compile(f"({'|'.join(re.escape(token) for token in tokens)})")


def raise_disallowed_special_token(token: str) -> NoReturn:
    """Raise the ValueError of a text with a special token that is not allowed."""
    raise ValueError(
        f"Encountered text corresponding to disallowed special token {token!r}.\n"
        "If you want this text to be encoded as a special token, "
        f"pass it to `allowed_special`, e.g. `allowed_special={{{token!r}, ...}}`.\n"
        "If you want this text to be encoded as normal text, disable the check for this token by "
        f"passing `disallowed_special=(enc.special_tokens_set - {{{token!r}}})`.\n"
        "To disable this check for all special tokens, pass `disallowed_special=()`.\n"
    )
