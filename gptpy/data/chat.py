"""Conversations as rows: a template writes them as text, and only the replies are scored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptpy.config.data import TemplateConfig
from gptpy.data.dataset import IGNORE
from gptpy.data.errors import DataError
from gptpy.data.formats import kind_of
from gptpy.data.rows import Row
from gptpy.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant")
# What other programs call them
OTHER_ROLES = {
    "developer": "system",
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
ROLE_NAMES = {**{role: role for role in ROLES}, **OTHER_ROLES}
EXPECTED = "expected messages, prompt and response, or instruction and output (all texts)"


@dataclass(frozen=True)
class Message:
    """One message of a conversation; `role` is one of `ROLES`."""

    role: str
    content: str


@dataclass(frozen=True)
class Segment:
    """A part of a conversation that is encoded by itself; `ends`: end-of-text follows it."""

    text: str
    scored: bool = False
    ends: bool = False


def conversation_of(row: Any, where: object) -> list[Message]:
    """The messages of a parsed row of JSON.

    It may hold `messages` or `conversations` (a list of `role` and `content`, or of `from` and
    `value` as ShareGPT has it), `prompt` with `response` or `completion`, or `instruction` with
    `output` and, optionally, `input`. A content is a text, or a list of parts that are texts.
    Raises `DataError` naming `where` for anything else.
    """
    try:
        found = _conversation(row)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    if all(message.role != "assistant" for message in found):
        raise DataError(f"{where}: there is no reply of the assistant to learn from")
    return found


def messages_of(value: Any) -> list[Message]:
    """The messages of parsed JSON, a list of `role` and `content`; `ValueError` for another."""
    return _messages(value, ["messages"])


def _conversation(row: Any) -> list[Message]:
    """The messages of a row; `ValueError` where it is no conversation."""
    if not isinstance(row, dict):
        raise ValueError(f"{EXPECTED}, found {kind_of(row)}")
    for key in ("messages", "conversations", "conversation"):
        if key in row:
            system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
            return _messages(system, []) + _messages(row[key], [key])
    if "prompt" in row:
        asked, key = "prompt", "response" if "response" in row else "completion"
    else:
        asked, key = "instruction", "output"
    if asked in row and key in row:
        request = _turn("user", row[asked], asked)
        if asked == "instruction" and row.get("input"):
            more = _text(row["input"], "input")
            request = [Message("user", f"{request[0].content}\n\n{more}")]
        return request + _turn("assistant", row[key], key)
    raise ValueError(f"{EXPECTED}, found keys {sorted(row)}")


def _turn(role: str, value: Any, key: str) -> list[Message]:
    """One message, or several where `value` is a list of messages."""
    if isinstance(value, list) and value and all(_is_message(part) for part in value):
        return _messages(value, [key])
    return [Message(role, _text(value, key))]


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and ("role" in value or "from" in value)


def _messages(found: Any, place: list[str]) -> list[Message]:
    if not isinstance(found, list) or (place and not found):
        kind = "an empty list" if found == [] else kind_of(found)
        raise ValueError(f"expected messages (a list) under {place[0]!r}, found {kind}")
    made = []
    for number, message in enumerate(found, 1):
        name = f"message {number}"
        if not _is_message(message):
            raise ValueError(
                f"{name}: expected messages of role and content, or from and value, found "
                f"{kind_of(message)}"
            )
        role = message["role"] if "role" in message else message["from"]
        known = ROLE_NAMES.get(role.lower() if isinstance(role, str) else "")
        if known is None:
            raise ValueError(
                f"{name}: role must be {', '.join(ROLES)} (also {', '.join(OTHER_ROLES)}), got "
                f"{role!r}"
            )
        key = "content" if "content" in message else "value"
        made.append(Message(known, _text(message.get(key), f"{name}, {key}")))
    return made


def _text(value: Any, name: str) -> str:
    """A text, or the texts of a list of parts joined."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError(f"{EXPECTED}: {name} must be a text, found {kind_of(value)}")
    return "".join(_part(part, name) for part in value)


def _part(part: Any, name: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return part["text"]
    kind = part.get("type") if isinstance(part, dict) else None
    found = f"a part of type {kind!r}" if kind else kind_of(part)
    raise ValueError(f"{name}: expected parts of type 'text', found {found}")


def segments(messages: Sequence[Message], template: TemplateConfig) -> list[Segment]:
    """The conversation as parts of text; only what the assistant says is scored."""
    found: list[Segment] = []
    for message in messages:
        before, after = getattr(template, message.role).split("{content}")
        if message.role == "assistant":
            found.append(Segment(before))
            found.append(Segment(message.content, scored=True, ends=True))
            found.append(Segment(after))
        else:
            found.append(Segment(before + message.content + after))
    return [segment for segment in found if segment.text or segment.ends]


def request_segments(messages: Sequence[Message], template: TemplateConfig) -> list[Segment]:
    """The conversation up to the beginning of the assistant's next reply."""
    opening = template.assistant.split("{content}")[0]
    return [*segments(messages, template), *([Segment(opening)] if opening else [])]


def segment_ids(found: Sequence[Segment], tokenizer: Tokenizer, end: int) -> list[int]:
    """End-of-text and then the ids of the segments, special tokens in them taken as plain text."""
    ids = [end]
    for segment in found:
        ids += tokenizer.encode_ordinary(segment.text)
        ids += [end] * segment.ends
    return ids


def chat_row(
    messages: Sequence[Message], tokenizer: Tokenizer, template: TemplateConfig, end: int
) -> Row:
    """A row whose scored targets are the replies' ids and the end-of-text after each."""
    ids, scored = [end], [False]
    for segment in segments(messages, template):
        part = list(tokenizer.encode_ordinary(segment.text)) + [end] * segment.ends
        ids += part
        scored += [segment.scored] * len(part)
    row = np.asarray(ids, dtype=np.int64)
    return Row(row[:-1], np.where(scored[1:], row[1:], IGNORE))


_LITERAL = r"'((?:[^'\\]|\\.)*)'"


def template_of_jinja(text: str) -> TemplateConfig | None:
    """The template that `jinja_template` wrote as `text`, or None for any other text."""
    found, end = {}, ""
    for role in ROLES:
        closing = rf" \+ {_LITERAL}" if role == "assistant" else ""
        written = rf"{_LITERAL} \+ m\['content'\]{closing} \+ {_LITERAL}"
        pattern = rf"== '{role}' -%\}}\{{\{{- {written} -"
        match = re.search(pattern, text)
        if match is None:
            return None
        before, *ends, after = (
            re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], part)
            for part in match.groups()
        )
        found[role] = before + "{content}" + after
        end = "".join(ends)
    template = TemplateConfig(**found)
    return template if jinja_template(template, end) == text else None


def jinja_template(template: TemplateConfig, end: str) -> str:
    """The same template for `transformers`' `apply_chat_template`."""

    def literal(text: str) -> str:
        quoted = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        return f"'{quoted}'"

    cases = []
    for role in ROLES:
        before, after = getattr(template, role).split("{content}")
        closing = f" + {literal(end)}" if role == "assistant" else ""
        cases.append(
            f"{{%- {'if' if not cases else 'elif'} m['role'] == '{role}' -%}}"
            f"{{{{- {literal(before)} + m['content']{closing} + {literal(after)} -}}}}"
        )
    opening = literal(template.assistant.split("{content}")[0])
    return (
        f"{{{{- {literal(end)} -}}}}{{%- for m in messages -%}}{''.join(cases)}{{%- endif -%}}"
        f"{{%- endfor -%}}{{%- if add_generation_prompt -%}}{{{{- {opening} -}}}}{{%- endif -%}}"
    )
