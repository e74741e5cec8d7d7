"""`repr` and `str` of a tokenizer and its components, as `tokenizers` writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

# Settings whose strings name one of several choices: without quotes.
_CHOICES = ("direction", "strategy", "behavior", "prepend_scheme")
# Settings that are a structure whose name the JSON lacks.
_STRUCTURES = {"truncation": "TruncationParams", "padding": "PaddingParams"}
# `repr` stops before so many elements of a list, `str` earlier and in long strings, too.
_REPR_ELEMENTS, _STR_ELEMENTS, _STR_BYTES = 100, 6, 100


def written(name: str, settings: dict[str, Any], *, short: bool) -> str:
    """`name` and its settings, given as in the JSON; `short`: as `str` writes them."""
    return _Writer(short).structure(name, settings)


class _Writer:
    def __init__(self, short: bool) -> None:
        self.short = short
        self.most = _STR_ELEMENTS if short else _REPR_ELEMENTS

    def structure(self, name: str, settings: dict[str, Any]) -> str:
        items = settings.items()
        shown = (f"{key}={self.value(value, key)}" for key, value in items if key != "type")
        return f"{name}({', '.join(shown)})"

    def elements(self, ends: str, texts: Iterable[str], count: int) -> str:
        if count < self.most:
            return f"{ends[0]}{', '.join(texts)}{ends[1]}"
        first = [text for text, _ in zip(texts, range(self.most - 1), strict=False)]
        return f"{ends[0]}{', '.join(first)}, ...{ends[1]}"

    def value(self, value: Any, key: str = "") -> str:
        if isinstance(value, str):
            return value if key in _CHOICES else self.string(value)
        if isinstance(value, float):
            return _single(value)
        if isinstance(value, list):
            is_tuple = key in ("sep", "cls", "merge")
            inner = "merge" if key == "merges" else ""
            texts = (self.value(each, inner) for each in value)
            return self.elements("()" if is_tuple else "[]", texts, len(value))
        if isinstance(value, dict):
            return self.object(value, key)
        return str(value)

    def object(self, value: dict[str, Any], key: str) -> str:
        if key in _STRUCTURES:
            return self.structure(_STRUCTURES[key], value)
        if key not in ("vocab", "special_tokens"):
            if "type" in value:
                return self.structure(value["type"], value)
            if len(value) == 1:
                return self.variant(*next(iter(value.items())))
        texts = (f"{self.string(name)}:{self.entry(each, key)}" for name, each in value.items())
        return self.elements("{}", texts, len(value))

    def variant(self, name: str, value: Any) -> str:
        """A choice with content: a pattern, a fixed length, a part of a template."""
        if not isinstance(value, dict):
            return f"{name}({self.value(value)})"
        if name == "Sequence":
            return f"{name}(id={value['id']}, type_id={value['type_id']})"
        return self.structure(name, value)

    def entry(self, value: Any, key: str) -> str:
        if key == "special_tokens":
            return self.structure("SpecialToken", value)
        return self.value(value)

    def string(self, text: str) -> str:
        data = text.encode()
        if self.short and len(data) > _STR_BYTES:
            text = data[:_STR_BYTES].decode(errors="ignore") + "..."
        return f'"{text}"'


def _single(value: float) -> str:
    """A number that is kept in single precision, with all its digits."""
    [kept] = struct.unpack("f", struct.pack("f", value))
    return format(Decimal(repr(kept)), "f").removesuffix(".0")
