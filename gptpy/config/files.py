"""Settings to and from TOML: a nested dataclass is a table, a field a key, None an absent key.

None is the word "none" where an absent key would mean another default (`settings.OR_NONE`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from gptpy.config.errors import ConfigError
from gptpy.config.settings import NONE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]


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
        if path.exists() and not path.is_file():
            raise ConfigError("is no file")
        return parse_toml(path.read_text(encoding="utf-8-sig"))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: cannot be read as text: is not UTF-8 at byte {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as text: {error.strerror}") from None


def to_toml(config: Any) -> str:
    """The TOML text of a dataclass instance."""
    return tomli_w.dumps(to_mapping(config))


def to_mapping(config: Any) -> dict[str, Any]:
    """The nested plain mapping of a dataclass instance; reading it gives an equal one."""
    mapping: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            mapping[field.name] = to_mapping(value)
        elif value is not None:
            mapping[field.name] = value
        elif field.default is not None:
            mapping[field.name] = NONE
    return mapping


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
