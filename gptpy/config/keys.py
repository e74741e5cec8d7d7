"""The list of all settings, section by section, that `--help` shows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gptpy.config import schema


@dataclass(frozen=True)
class Key:
    """One setting: `name` is its dotted path, `type` one word for the kind of value.

    Where the default is None, the meaning says what follows from that: "... (default: no limit)".
    """

    name: str
    type: str
    default: Any
    meaning: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """One table of `config.toml`."""

    name: str
    meaning: str
    keys: list[Key]


def sections(cls: type, name: str = "") -> Iterator[Section]:
    """The tables of a settings class, each before those inside it; none for one without keys."""
    keys: list[Key] = []
    tables: list[tuple[type, str]] = []
    for field in dataclasses.fields(cls):
        dotted = f"{name}.{field.name}" if name else field.name
        inner = schema.nested_class(cls, field.name)
        if inner is not None:
            tables.append((inner, dotted))
            continue
        node = schema.fields(cls)[field.name]
        meaning = _first_paragraph(node.get("description"))
        keys.append(
            Key(dotted, schema.type_word(node), _default(field), meaning, schema.choices(node))
        )
    if keys:
        yield Section(name, _first_paragraph(cls.__doc__), keys)
    for inner, dotted in tables:
        yield from sections(inner, dotted)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _first_paragraph(docstring: str | None) -> str:
    """On one line, as plain text, without the full stop."""
    paragraph = (docstring or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split()).replace("`", "").removesuffix(".")


def as_written(value: Any) -> str:
    """A value as a user would write it: words bare, everything else as in TOML."""
    if isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum():
        return value
    return json.dumps(value, ensure_ascii=False)
