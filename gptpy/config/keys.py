"""Every key of the settings: its type, default and meaning, read from the settings' classes.

The types come from pydantic's JSON schema, so that `--help` and error messages cannot say anything
else than what is checked.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Key:
    """One setting."""

    name: str
    """Dotted path, such as `train.optim.lr`."""
    type: str
    """One capitalised word for the kind of value: INT, FLOAT, NAME, ..."""
    default: Any
    meaning: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """The keys of one table of `config.toml`."""

    name: str
    meaning: str
    keys: list[Key] = field(default_factory=list)


def sections(cls: type, name: str = "") -> Iterator[Section]:
    """The tables of `cls`, each before those inside it; `cls` itself only if it has plain keys."""
    here = Section(name, _summary(cls.__doc__ or ""))
    inner = []
    for item in dataclasses.fields(cls):
        dotted = f"{name}.{item.name}" if name else item.name
        nested = _nested(cls, item.name)
        if nested is not None:
            inner.append((nested, dotted))
            continue
        node = _properties(cls)[item.name]
        here.keys.append(
            Key(
                dotted,
                _TYPES[_plain(node)["type"]] if not _choices(node) else "NAME",
                _default(item),
                _summary(node.get("description", "")),
                _choices(node),
            )
        )
    if here.keys:
        yield here
    for nested, dotted in inner:
        yield from sections(nested, dotted)


_TYPES = {
    "integer": "INT",
    "number": "FLOAT",
    "boolean": "BOOL",
    "string": "TEXT",
    "array": "LIST",
}


@dataclass(frozen=True)
class Place:
    """Where an error is: the dotted name, what belongs there, and the keys beside it."""

    name: str
    kind: str | None
    siblings: Sequence[str]
    choices: Sequence[str] = ()


def place_of(cls: type, path: Sequence[str | int]) -> Place:
    """The place that pydantic's `loc` means: names of fields, positions of arguments, of items."""
    name, owner = "", typing.cast("type | None", cls)
    node: dict[str, Any] | None = {"type": "object"}
    siblings: list[str] = []
    for part in path:
        if owner is None:  # inside a list
            name += f"[{part}]"
            node = None if node is None else _plain(node).get("items")
            continue
        siblings = [item.name for item in dataclasses.fields(owner)]
        if isinstance(part, int):  # a positional argument
            part = siblings[part] if part < len(siblings) else str(part)
        name = f"{name}.{part}" if name else part
        node = _properties(owner).get(part)
        owner = _nested(owner, part) if part in siblings else None
    if owner is not None:
        return Place(name, "a table" if name else None, siblings)
    if node is None:
        return Place(name, None, siblings)
    return Place(name, _kind(node), siblings, _choices(node))


@functools.cache
def _properties(cls: type) -> dict[str, dict[str, Any]]:
    return TypeAdapter(cls).json_schema().get("properties", {})


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _nested(cls: type, name: str) -> type | None:
    """The dataclass that a field holds, or may hold; None for a plain value."""
    hint = _hints(cls)[name]
    for option in (hint, *typing.get_args(hint)):
        if isinstance(option, type) and dataclasses.is_dataclass(option):
            return option
    return None


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    """The schema of the value itself where it may also be absent (null)."""
    return next((n for n in node.get("anyOf", ()) if n.get("type") != "null"), node)


def _choices(node: dict[str, Any]) -> tuple[str, ...]:
    return tuple(_plain(node).get("enum", ()))


def _kind(node: dict[str, Any]) -> str:
    """What is expected, in words: "an integer > 0"."""
    node = _plain(node)
    if "enum" in node:
        return f"one of {', '.join(node['enum'])}"
    names = {
        "integer": "an integer",
        "number": "a number",
        "boolean": "true or false",
        "string": "a string",
        "array": "a list",
    }
    low, above = node.get("minimum"), node.get("exclusiveMinimum")
    high, below = node.get("maximum"), node.get("exclusiveMaximum")
    kind = "a non-empty list" if node.get("minItems") else names[node["type"]]
    if high is not None or below is not None:
        left = f"[{low:g}" if low is not None else f"({above:g}"
        right = f"{high:g}]" if high is not None else f"{below:g})"
        return f"{kind} in {left}, {right}"
    if low is not None:
        return f"{kind} >= {low:g}"
    return f"{kind} > {above:g}" if above is not None else kind


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def _summary(text: str) -> str:
    """The first paragraph on one line, as plain text without the full stop."""
    paragraph = text.strip().split("\n\n")[0]
    return " ".join(paragraph.split()).replace("`", "").removesuffix(".")


def as_written(value: Any) -> str:
    """A default as a user would write it: words bare, everything else as in TOML."""
    if isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum():
        return value
    return json.dumps(value, ensure_ascii=False)
