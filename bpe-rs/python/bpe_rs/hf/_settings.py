"""Truncation, padding and the treatment of special tokens, one copy a thread.

`transformers` sets truncation and padding on the tokenizer before every call. If threads shared
them, a call in one thread could be truncated by the settings of another. So each thread has its
own copy, which begins as the tokenizer's when the thread first uses it; only the thread that made
the tokenizer also sets the tokenizer's.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

from bpe_rs import _core

TruncationArgs = tuple[int, int, str, str]
"""`(max_length, stride, strategy, direction)`."""
PaddingArgs = tuple[int | None, int | None, int, int, str, str]
"""`(length, pad_to_multiple_of, pad_id, pad_type_id, pad_token, direction)`."""

_U32 = 1 << 32
_USIZE = 1 << 64


@dataclass(frozen=True)
class Settings:
    """The settings of one thread."""

    truncation: TruncationArgs | None = None
    padding: PaddingArgs | None = None
    encode_special_tokens: bool = False


class ThreadSettings:
    """`Settings` of each thread."""

    def __init__(self, settings: Settings) -> None:
        self._shared = settings
        self._owner = threading.get_ident()
        self._local = threading.local()

    def get(self) -> Settings:
        """This thread's settings."""
        try:
            return self._local.settings
        except AttributeError:
            self._local.settings = self._shared
            return self._shared

    def set(self, **changes: Any) -> None:
        """Changes this thread's settings."""
        changed = replace(self.get(), **changes)
        self._local.settings = changed
        if threading.get_ident() == self._owner:
            self._shared = changed


def _integer(name: str, value: Any, limit: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"expected {name} as an int, got {type(value).__name__}")
    value = value.__index__()
    if not 0 <= value < limit:
        raise OverflowError(f"expected {name} from 0 to {limit - 1}, got {value}")
    return value


def _row_length(name: str, value: Any) -> int:
    """A number of ids up to which rows are padded; ValueError for one that no memory would hold."""
    if hasattr(value, "__index__") and value.__index__() > _core.MAX_ROW_LENGTH:
        raise ValueError(f"expected {name} of at most {_core.MAX_ROW_LENGTH}, got {value}")
    return _integer(name, value, _USIZE)


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        known = ", ".join(f"`{choice}`" for choice in choices[:-1])
        raise ValueError(f"Unknown `{name}`: `{value}`. Use one of {known} or `{choices[-1]}`")
    return value


def truncation_args(
    max_length: int,
    stride: int = 0,
    strategy: str = "longest_first",
    direction: str = "right",
) -> TruncationArgs:
    """Checked settings; ValueError, TypeError or OverflowError names the one that is wrong."""
    return (
        _integer("max_length", max_length, _USIZE),
        _integer("stride", stride, _USIZE),
        _choice("strategy", strategy, ("longest_first", "only_first", "only_second")),
        _choice("direction", direction, ("left", "right")),
    )


def padding_args(
    direction: str = "right",
    pad_id: int = 0,
    pad_type_id: int = 0,
    pad_token: str = "[PAD]",
    length: int | None = None,
    pad_to_multiple_of: int | None = None,
) -> PaddingArgs:
    """Checked settings; ValueError, TypeError or OverflowError names the one that is wrong."""
    if not isinstance(pad_token, str):
        raise TypeError(f"expected pad_token as a str, got {type(pad_token).__name__}")
    multiple = pad_to_multiple_of
    return (
        None if length is None else _row_length("length", length),
        None if multiple is None else _row_length("pad_to_multiple_of", multiple),
        _integer("pad_id", pad_id, _U32),
        _integer("pad_type_id", pad_type_id, _U32),
        pad_token,
        _choice("direction", direction, ("left", "right")),
    )


def truncation_dict(args: TruncationArgs) -> dict[str, Any]:
    """The settings by name."""
    max_length, stride, strategy, direction = args
    return {
        "max_length": max_length,
        "stride": stride,
        "strategy": strategy,
        "direction": direction,
    }


def padding_dict(args: PaddingArgs) -> dict[str, Any]:
    """The settings by name."""
    length, multiple, pad_id, pad_type_id, pad_token, direction = args
    return {
        "length": length,
        "pad_to_multiple_of": multiple,
        "pad_id": pad_id,
        "pad_token": pad_token,
        "pad_type_id": pad_type_id,
        "direction": direction,
    }
