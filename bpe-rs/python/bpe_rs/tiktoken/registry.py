"""Encodings by name: the published ones, and those of `tiktoken_ext` plug-ins.

A plug-in is a module of the namespace package `tiktoken_ext` with a dictionary
`ENCODING_CONSTRUCTORS` from names to functions that return `Encoding`'s arguments.
"""

from __future__ import annotations

from typing import Any

from bpe_rs.tiktoken import _plugins
from bpe_rs.tiktoken._plugins import ENCODINGS as ENCODINGS
from bpe_rs.tiktoken._plugins import _available_plugin_modules as _available_plugin_modules
from bpe_rs.tiktoken._plugins import _find_constructors as _find_constructors
from bpe_rs.tiktoken.core import Encoding


def __getattr__(name: str) -> Any:
    if name == "ENCODING_CONSTRUCTORS":
        # None until it is needed, as in tiktoken; so it cannot be imported once and for all.
        return _plugins.ENCODING_CONSTRUCTORS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_encoding(encoding_name: str) -> Encoding:
    """The encoding of that name, one object a process.

    Raises ValueError for a name that neither this package nor a plug-in knows.

    >>> get_encoding("gpt2").n_vocab
    50257
    """
    return _plugins.encoding(encoding_name, Encoding)


def list_encoding_names() -> list[str]:
    """Every name that `get_encoding` knows."""
    return list(_plugins.constructors())
