"""Dataclasses from and to TOML, with errors that name the key, what was expected and what came.

One rule maps both directions: a nested dataclass is a table, a field is a key, `None` is an absent
key. The command line's `--section.key VALUE` goes through the same checks as a file.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gptpy.config.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

T = TypeVar("T")


def parse_toml(text: str) -> dict[str, Any]:
    """The nested tables of a TOML text; raises `ConfigError` when it is malformed."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Parse a TOML file; raises `ConfigError` naming the file when it is missing or malformed."""
    path = Path(path)
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}") from None


def write_toml(data: Mapping[str, Any]) -> str:
    """Format nested mappings of plain values as TOML; `None` values are left out."""
    lines: list[str] = []
    _write_table(data, (), lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    plain = {k: v for k, v in table.items() if v is not None and not isinstance(v, Mapping)}
    if path and (plain or not table):
        lines.extend(["", f"[{'.'.join(map(_key, path))}]"])
    lines.extend(f"{_key(k)} = {_value(v)}" for k, v in plain.items())
    for key, value in table.items():
        if isinstance(value, Mapping):
            _write_table(value, (*path, key), lines)


def _key(key: str) -> str:
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isascii() and bare.isalnum() else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)  # inf and nan are spelled the same way in TOML
    if isinstance(value, (str, Path)):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"cannot write a {type(value).__name__} as TOML: {value!r}")


def to_mapping(config: Any) -> dict[str, Any]:
    """The nested plain mapping of a dataclass instance, `None` fields left out."""
    mapping: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is None:
            continue
        mapping[field.name] = to_mapping(value) if dataclasses.is_dataclass(value) else value
    return mapping


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """Build dataclass `cls` from a mapping, checking every key and value.

    Raises `ConfigError` for an unknown key (with the nearest known one), a value of another type,
    a missing required key, or what the dataclass itself refuses. `where` prefixes the keys in
    messages.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in mapping.items():
        name = f"{where}.{key}" if where else key
        if key not in fields:
            raise ConfigError(unknown(name, key, list(fields), where))
        values[key] = _checked(hints[key], value, name)
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise ConfigError(f"{where + '.' if where else ''}{name} is required and was not given")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"[{where}] {error}" if where else str(error)) from None


def unknown(name: str, key: str, known: Sequence[str], where: str = "") -> str:
    """The message for an unknown key, with the nearest known ones or all of them."""
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    prefix = f"{where}." if where else ""
    if near:
        return f"unknown key {name}; did you mean {' or '.join(prefix + n for n in near)}?"
    return f"unknown key {name}; known are {', '.join(prefix + k for k in known)}"


def _checked(hint: Any, value: Any, name: str) -> Any:
    """`value` as `hint` wants it, or a `ConfigError`. Knows the types our dataclasses use."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        errors = []
        for option in arguments:
            if option is type(None):
                continue
            try:
                return _checked(option, value, name)
            except ConfigError as error:
                errors.append(error)
        raise errors[0]
    if origin is typing.Literal:
        if value in arguments:
            return value
        near = difflib.get_close_matches(str(value), [str(a) for a in arguments], n=1)
        hint_text = f"; did you mean {near[0]!r}?" if near else ""
        choices = ", ".join(repr(a) for a in arguments)
        raise ConfigError(f"{name} must be one of {choices}, got {value!r}{hint_text}")
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{name} must be a list, got {value!r}")
        items = arguments[0] if arguments else Any
        return origin(_checked(items, item, f"{name}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} must be a table, got {value!r}")
        return from_mapping(hint, value, name)
    if hint is Any:
        return value
    return _checked_scalar(hint, value, name)


def _checked_scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 1e6 is a float in TOML, and the natural way to write a million
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, bool) and hint is not bool:
        raise ConfigError(f"{name} must be {_article(hint)}, got {str(value).lower()}")
    if not isinstance(value, hint):
        raise ConfigError(f"{name} must be {_article(hint)}, got {value!r}")
    return value


def _article(hint: Any) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    return names.get(hint, f"a {getattr(hint, '__name__', hint)}")


def parse_override(text: str) -> Any:
    """A command line value as TOML reads it; what is no TOML value is the string itself."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` on top, table by table."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def set_dotted(mapping: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `a.b.c` in nested dictionaries, making the tables on the way."""
    *tables, key = dotted.split(".")
    for depth, table in enumerate(tables):
        mapping = mapping.setdefault(table, {})
        if not isinstance(mapping, dict):
            raise ConfigError(f"{'.'.join(tables[: depth + 1])} is a value, not a table")
    mapping[key] = value
