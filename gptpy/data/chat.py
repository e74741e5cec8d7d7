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
from gptpy.data.rows import Row
from gptpy.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant")


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


def conversation_of(row: Any, where: str) -> list[Message]:
    """The messages of a parsed line of JSON.

    It may hold `messages` (a list of `role` and `content`), `prompt` with `response` or
    `completion`, or `instruction` with `output` and, optionally, `input`. Raises `DataError` naming
    `where` for anything else.
    """
    found = _conversation(row)
    if found is None:
        keys = f"keys {sorted(row)}" if isinstance(row, dict) else type(row).__name__
        raise DataError(
            f"{where}: expected messages, prompt and response, or instruction and output (all "
            f"texts), found {keys}"
        )
    for message in found:
        if message.role not in ROLES:
            raise DataError(f"{where}: role must be {', '.join(ROLES)}, got {message.role!r}")
    if all(message.role != "assistant" for message in found):
        raise DataError(f"{where}: there is no reply of the assistant to learn from")
    return found


def _conversation(row: Any) -> list[Message] | None:
    if not isinstance(row, dict):
        return None
    pairs: list[tuple[Any, Any]]
    if isinstance(row.get("messages"), list):
        pairs = [
            (m.get("role"), m.get("content")) if isinstance(m, dict) else (None, None)
            for m in row["messages"]
        ]
    elif "prompt" in row:
        reply = row.get("response", row.get("completion"))
        pairs = [("user", row["prompt"]), ("assistant", reply)]
    elif "instruction" in row:
        request = row["instruction"]
        if row.get("input"):
            request = f"{request}\n\n{row['input']}"
        pairs = [("user", request), ("assistant", row.get("output"))]
    else:
        return None
    if not pairs or not all(isinstance(part, str) for pair in pairs for part in pair):
        return None
    return [Message(role, content) for role, content in pairs]


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
