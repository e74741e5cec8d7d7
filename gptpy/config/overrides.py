"""Values from the command line, typed by the setting that they are for and not by their looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gptpy.config import files, schema
from gptpy.config.escapes import unescaped

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
    kind = "string" if schema.choices(node) else node.get("type")
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


def _place(cls: type, key: str) -> tuple[schema.Node | None, bool]:
    """The schema of the values of a setting, and whether it may have none."""
    *tables, name = key.split(".")
    for table in tables:
        inner = schema.nested_class(cls, table)
        if inner is None:
            return None, False
        cls = inner
    if schema.nested_class(cls, name):
        return None, False
    return schema.fields(cls).get(name), schema.optional(cls, name)


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
