"""How settings are declared: pydantic dataclasses, whose errors become one `ConfigError`.

A field's type says what is accepted, its docstring what it means. Checks, error messages and
`--help` all read these two (through pydantic's JSON schema), so that none differs from another.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from gptpy.config.errors import ConfigError

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
def field_schemas(cls: type) -> dict[str, Node]:
    """The schema of every field of a settings class; where None is allowed, of the other values."""
    properties = TypeAdapter(cls).json_schema().get("properties", {})
    return {name: _without_none(node) for name, node in properties.items()}


def _without_none(node: Node) -> Node:
    for option in node.get("anyOf", ()):
        if option.get("type") != "null":
            return {**node, **option}
    return node


@functools.cache
def is_optional(cls: type, name: str) -> bool:
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


def choices_of(node: Node) -> tuple[str, ...]:
    """The only values allowed; empty where a type decides."""
    return tuple(node.get("enum", ()))


def type_word(node: Node) -> str:
    """One word for the kind of value: INT, FLOAT, BOOL, TEXT, LIST or NAME (one of `choices`)."""
    return "NAME" if choices_of(node) else WORDS[node["type"]][0]


def expectation(node: Node) -> str:
    """What is accepted, as part of a sentence: "an integer > 0", "one of adamw, muon"."""
    if choices_of(node):
        return f"one of {', '.join(choices_of(node))}"
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


T = TypeVar("T")

CHECKED = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _whole(value: Any) -> Any:
    """1e6 is a float in TOML, and the natural way to write a million."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)

NONE = "none"


def _none(value: Any) -> Any:
    return None if value == NONE else value


# TOML has no null and an absent key means the default. Where that is another value than None, the
# type says so: `Annotated[PositiveNumber | None, OR_NONE]`, and None is written as a word.
OR_NONE = BeforeValidator(_none)

# pydantic's own types convert "5" and true to an integer; these do not.
Seed = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1), _WHOLE]
PositiveInteger = Annotated[int, Field(strict=True, gt=0), _WHOLE]
NonNegativeInteger = Annotated[int, Field(strict=True, ge=0), _WHOLE]
PositiveNumber = Annotated[float, Field(strict=True, gt=0)]
NonNegativeNumber = Annotated[float, Field(strict=True, ge=0)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
FractionBelowOne = Annotated[float, Field(strict=True, ge=0, lt=1)]
Switch = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
# Escapes such as `\n` in values from the command line are replaced. Paths are plain `Text`, because
# they may hold backslashes.
EscapedText = Annotated[str, Field(strict=True, json_schema_extra={"escapes": True})]


def raises_config_error(cls: type[T]) -> type[T]:
    """Make the constructor of a pydantic dataclass raise `ConfigError` for what does not fit.

    The message names every wrong key by its dotted path, says what was expected and what came, and
    suggests the nearest known name.
    """
    construct: Callable[..., None] = cls.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            construct(self, *args, **kwargs)
        except ValidationError as error:
            found = error.errors(include_url=False)
            raise ConfigError("; ".join(_message(cls, one) for one in found)) from None

    cls.__init__ = __init__  # type: ignore[method-assign]
    return cls


def _message(cls: type, error: Any) -> str:
    name, owner, node = _place(cls, error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        assert owner is not None
        return unknown_key(name, list(field_schemas(owner)))
    if error["type"] == "value_error":  # raised by a check of ours
        reason = str(error["ctx"]["error"])
        return f"{name}: {reason}" if name else reason
    if error["type"] == "dataclass_type":
        return expected(name, "a table", error["input"])
    if node is None:
        return f"{name}: {error['msg']}"
    return expected(name, expectation(node), error["input"], choices_of(node))


def _place(cls: type, path: Sequence[str | int]) -> tuple[str, type | None, Node | None]:
    """Where an error is: the dotted name, the class of the field and the schema of the value.

    Each part of pydantic's `path` is the name of a field, the position of an argument or of an item
    in a list.
    """
    name = ""
    owner: type | None = None
    inner: type | None = cls
    node: Node | None = None
    for part in path:
        if inner is None:
            name += f"[{part}]"
            node = node.get("items") if node else None
            continue
        owner = inner
        known = field_schemas(owner)
        if isinstance(part, int):
            part = [*known][part] if part < len(known) else f"argument {part + 1}"
        name = f"{name}.{part}" if name else part
        node, inner = known.get(part), nested_class(owner, part)
    return name, owner, node


def expected(name: str, kind: str, value: Any, choices: Sequence[str] = ()) -> str:
    """`name: expected KIND, got VALUE`, with the nearest of `choices`."""
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{name}: expected {kind}, got {shown}{hint}"


def unknown_key(name: str, known: Sequence[str]) -> str:
    """The message for a key that does not exist, with the nearest known ones or all of them."""
    section, _, key = name.rpartition(".")
    prefix = f"{section}." if section else ""
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    if near:
        return f"unknown key {name}; did you mean {' or '.join(prefix + n for n in near)}?"
    return f"unknown key {name}; known are {', '.join(prefix + k for k in known)}"
