"""How settings are declared: pydantic dataclasses, whose errors become one `ConfigError`.

A field's type says what is accepted, its docstring what it means. Checks, error messages
(`schema.py`) and `--help` (`keys.py`) all come from these two.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from gptpy.config import schema
from gptpy.config.errors import ConfigError

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
Integer = Annotated[int, Field(strict=True), _WHOLE]
PositiveInteger = Annotated[int, Field(strict=True, gt=0), _WHOLE]
NonNegativeInteger = Annotated[int, Field(strict=True, ge=0), _WHOLE]
PositiveNumber = Annotated[float, Field(strict=True, gt=0)]
NonNegativeNumber = Annotated[float, Field(strict=True, ge=0)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
FractionBelowOne = Annotated[float, Field(strict=True, ge=0, lt=1)]
Switch = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
# On the command line `\n` and the like in it are what they stand for; a path must not be one
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
        return unknown_key(name, list(schema.fields(owner)))
    if error["type"] == "value_error":  # raised by a check of ours
        reason = str(error["ctx"]["error"])
        return f"{name}: {reason}" if name else reason
    if error["type"] == "dataclass_type":
        return expected(name, "a table", error["input"])
    if node is None:
        return f"{name}: {error['msg']}"
    return expected(name, schema.expectation(node), error["input"], schema.choices(node))


def _place(cls: type, path: Sequence[str | int]) -> tuple[str, type | None, schema.Node | None]:
    """Where an error is: the dotted name, the class of the field and the schema of the value.

    Each part of pydantic's `path` is the name of a field, the position of an argument or of an item
    in a list.
    """
    name = ""
    owner: type | None = None
    inner: type | None = cls
    node: schema.Node | None = None
    for part in path:
        if inner is None:
            name += f"[{part}]"
            node = node.get("items") if node else None
            continue
        owner = inner
        known = schema.fields(owner)
        if isinstance(part, int):
            part = [*known][part] if part < len(known) else f"argument {part + 1}"
        name = f"{name}.{part}" if name else part
        node, inner = known.get(part), schema.nested_class(owner, part)
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
