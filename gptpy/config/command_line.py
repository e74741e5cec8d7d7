"""Settings on the command line: the list that `--help` shows, and values typed by their setting."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gptpy.config import files
from gptpy.config.escapes import unescaped
from gptpy.config.settings import (
    Node,
    choices_of,
    field_schemas,
    is_optional,
    nested_class,
    type_word,
)


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
        inner = nested_class(cls, field.name)
        if inner is not None:
            tables.append((inner, dotted))
            continue
        node = field_schemas(cls)[field.name]
        meaning = _first_paragraph(node.get("description"))
        keys.append(Key(dotted, type_word(node), _default(field), meaning, choices_of(node)))
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


# What a user may write for "no value", where a setting may have none
NOTHING = ("none", "null")


def with_overrides(
    cls: type, mapping: Mapping[str, Any], overrides: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """`mapping` with `section.key` -> command line text on top, each typed as a field of `cls`.

    Of a setting that is given several times the last counts; a list gets the values of all.
    """
    over: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    for key, text in overrides:
        value = parsed(cls, key, text)
        if isinstance(value, list):
            value = lists[key] = [*lists.get(key, []), *value]
        files.set_dotted(over, key, value)
    return files.merged(mapping, over)


def parsed(cls: type, key: str, text: str) -> Any:
    """The value of a setting that `text` means: a text stays one, whatever it looks like.

    Texts in quotes, lists and tables are read as TOML has them. What does not fit the setting is
    returned as it is, for the check of the settings to refuse.
    """
    node, optional = _place(cls, key)
    if node is None:  # a table, or no setting at all
        return files.parse_override(text)
    kind = "string" if choices_of(node) else node.get("type")
    if kind == "string":
        return _text(text, escapes=bool(node.get("escapes")))
    if optional and text.lower() in NOTHING:
        return None
    if kind == "array":
        value = files.parse_override(text)
        return value if isinstance(value, list) else [text]
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind in ("integer", "number"):
        return _number(text)
    return text if "\n" in text else files.parse_override(text)


def _place(cls: type, key: str) -> tuple[Node | None, bool]:
    """The schema of the values of a setting, and whether it may have none."""
    *tables, name = key.split(".")
    for table in tables:
        inner = nested_class(cls, table)
        if inner is None:
            return None, False
        cls = inner
    if nested_class(cls, name):
        return None, False
    return field_schemas(cls).get(name), is_optional(cls, name)


def _text(text: str, *, escapes: bool) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and "\n" not in text
    value = files.parse_override(text) if quoted else text
    if isinstance(value, str) and value is not text:
        return value
    return unescaped(text) if escapes else text


def _number(text: str) -> Any:
    """A number as TOML or Python writes it."""
    value = text if "\n" in text else files.parse_override(text)
    if value is not text:
        return value
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
