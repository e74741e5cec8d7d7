"""What a field of a settings class accepts, in words, read from pydantic's JSON schema.

Error messages and `--help` both take their words from here, so neither can differ from what is
checked.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from typing import Any

from pydantic import TypeAdapter

Node = dict[str, Any]

# JSON schema's name of a type: as a word of `--help`, and as part of a sentence
WORDS = {
    "integer": ("INT", "an integer"),
    "number": ("FLOAT", "a number"),
    "boolean": ("BOOL", "true or false"),
    "string": ("TEXT", "a string"),
    "array": ("LIST", "a list"),
}


@functools.cache
def fields(cls: type) -> dict[str, Node]:
    """The schema of every field of a settings class; where None is allowed, of the other values."""
    properties = TypeAdapter(cls).json_schema().get("properties", {})
    return {name: _without_none(node) for name, node in properties.items()}


def _without_none(node: Node) -> Node:
    for option in node.get("anyOf", ()):
        if option.get("type") != "null":
            return {**node, **option}
    return node


@functools.cache
def optional(cls: type, name: str) -> bool:
    """Whether the field `name` of a settings class may be None."""
    node = TypeAdapter(cls).json_schema().get("properties", {}).get(name, {})
    return any(option.get("type") == "null" for option in node.get("anyOf", ()))


def nested_class(cls: type, name: str) -> type | None:
    """The settings class that the field `name` of `cls` holds; None for a plain value."""
    hint = _hints(cls).get(name)
    for option in (hint, *typing.get_args(hint)):
        if isinstance(option, type) and dataclasses.is_dataclass(option):
            return option
    return None


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def choices(node: Node) -> tuple[str, ...]:
    """The only values allowed; empty where a type decides."""
    return tuple(node.get("enum", ()))


def type_word(node: Node) -> str:
    """One word for the kind of value: INT, FLOAT, BOOL, TEXT, LIST or NAME (one of `choices`)."""
    return "NAME" if choices(node) else WORDS[node["type"]][0]


def expectation(node: Node) -> str:
    """What is accepted, as part of a sentence: "an integer > 0", "one of adamw, muon"."""
    if choices(node):
        return f"one of {', '.join(choices(node))}"
    if node.get("minItems"):
        return "a non-empty list"
    kind = WORDS[node["type"]][1]
    low, above = node.get("minimum"), node.get("exclusiveMinimum")
    high, below = node.get("maximum"), node.get("exclusiveMaximum")
    if high is not None or below is not None:
        left = f"[{low:g}" if low is not None else f"({above:g}"
        right = f"{high:g}]" if high is not None else f"{below:g})"
        return f"{kind} in {left}, {right}"
    if low is not None:
        return f"{kind} >= {low:g}"
    return f"{kind} > {above:g}" if above is not None else kind
