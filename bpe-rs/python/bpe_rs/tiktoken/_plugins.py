"""Encodings by name: the published ones, and those of `tiktoken_ext` plug-ins.

The class of the encodings is an argument, so that both `core` (for unpickling) and `registry` can
import this module.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bpe_rs import _encoding
from bpe_rs._forks import fork_safe_lock
from bpe_rs.tiktoken import openai_public

if TYPE_CHECKING:
    from bpe_rs.tiktoken.core import Encoding

VERSION = "0.14.0"
"""The version of tiktoken whose names, signatures, results and errors these are."""

ENCODINGS: dict[str, Encoding] = {}
ENCODING_CONSTRUCTORS: dict[str, Callable[[], dict[str, Any]]] | None = None

_lock = fork_safe_lock()
# tiktoken's own plug-in. `openai_public` takes its place, whether it is installed or not.
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


def constructors() -> Mapping[str, Callable[[], dict[str, Any]]]:
    """All known names, with the functions that return `Encoding`'s arguments."""
    _find_constructors()
    assert ENCODING_CONSTRUCTORS is not None
    return ENCODING_CONSTRUCTORS


def encoding(name: str, cls: type[Encoding]) -> Encoding:
    """The `cls` of that name, one object a process; errors as `registry.get_encoding`."""
    if not isinstance(name, str):
        raise ValueError(f"Expected a string in get_encoding, got {type(name)}")
    if name in ENCODINGS:
        return ENCODINGS[name]
    with _lock:
        if name in ENCODINGS:
            return ENCODINGS[name]
        known = constructors()
        if name not in known:
            raise ValueError(
                f"Unknown encoding {name}.\n"
                f"Plugins found: {_available_plugin_modules()}\n"
                f"tiktoken version: {VERSION} (are you on latest?)"
            )
        constructor = known[name]
        if constructor is openai_public.ENCODING_CONSTRUCTORS.get(name):
            # Shares the tables inside the extension instead of filling a dictionary from them.
            made = cls._of(_encoding.get_encoding(name))
        else:
            made = cls(**constructor())
        ENCODINGS[name] = made
        return made
