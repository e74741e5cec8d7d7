"""Encodings by name: the published ones, and those of `tiktoken_ext` plug-ins.

A plug-in is a module of the namespace package `tiktoken_ext` with a dictionary
`ENCODING_CONSTRUCTORS` from names to functions that return `Encoding`'s arguments.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import threading
from collections.abc import Callable, Sequence
from typing import Any

import bpe_rs
from bpe_rs.tiktoken import openai_public
from bpe_rs.tiktoken.core import Encoding

ENCODINGS: dict[str, Encoding] = {}
ENCODING_CONSTRUCTORS: dict[str, Callable[[], dict[str, Any]]] | None = None

_lock = threading.RLock()
# tiktoken's own plug-in, which `openai_public` stands for, installed or not.
_BUILT_IN = "tiktoken_ext.openai_public"


@functools.lru_cache
def _available_plugin_modules() -> Sequence[str]:
    """The built-in plug-in and the modules in `tiktoken_ext`, without importing them."""
    try:
        import tiktoken_ext  # pyright: ignore[reportMissingImports]
    except ImportError:
        return [_BUILT_IN]
    found = pkgutil.iter_modules(tiktoken_ext.__path__, "tiktoken_ext.")
    names = [module.name for module in found]
    return names if _BUILT_IN in names else [*names, _BUILT_IN]


def _find_constructors() -> None:
    """Fill `ENCODING_CONSTRUCTORS` once; leave it None when a plug-in is broken."""
    global ENCODING_CONSTRUCTORS
    with _lock:
        if ENCODING_CONSTRUCTORS is not None:
            return
        found: dict[str, Callable[[], dict[str, Any]]] = {}
        for name in _available_plugin_modules():
            module = openai_public if name == _BUILT_IN else importlib.import_module(name)
            constructors = getattr(module, "ENCODING_CONSTRUCTORS", None)
            if constructors is None:
                raise ValueError(f"tiktoken plugin {name} does not define ENCODING_CONSTRUCTORS")
            for encoding_name, constructor in constructors.items():
                if encoding_name in found:
                    raise ValueError(
                        f"Duplicate encoding name {encoding_name} in tiktoken plugin {name}"
                    )
                found[encoding_name] = constructor
        ENCODING_CONSTRUCTORS = found


def get_encoding(encoding_name: str) -> Encoding:
    """The encoding of that name, one object a process.

    Raises ValueError for a name that neither this package nor a plug-in knows.

    >>> get_encoding("gpt2").n_vocab
    50257
    """
    if not isinstance(encoding_name, str):
        raise ValueError(f"Expected a string in get_encoding, got {type(encoding_name)}")
    if encoding_name in ENCODINGS:
        return ENCODINGS[encoding_name]
    with _lock:
        if encoding_name in ENCODINGS:
            return ENCODINGS[encoding_name]
        _find_constructors()
        assert ENCODING_CONSTRUCTORS is not None
        if encoding_name not in ENCODING_CONSTRUCTORS:
            from bpe_rs.tiktoken import __version__

            raise ValueError(
                f"Unknown encoding {encoding_name}.\n"
                f"Plugins found: {_available_plugin_modules()}\n"
                f"tiktoken version: {__version__} (are you on latest?)"
            )
        constructor = ENCODING_CONSTRUCTORS[encoding_name]
        if constructor is openai_public.ENCODING_CONSTRUCTORS.get(encoding_name):
            # The tables are inside the extension: no need for 200,000 entries in a dictionary.
            encoding = Encoding._of(bpe_rs.get_encoding(encoding_name))
        else:
            encoding = Encoding(**constructor())
        ENCODINGS[encoding_name] = encoding
        return encoding


def list_encoding_names() -> list[str]:
    """Every name that `get_encoding` knows."""
    with _lock:
        _find_constructors()
        assert ENCODING_CONSTRUCTORS is not None
        return list(ENCODING_CONSTRUCTORS)
