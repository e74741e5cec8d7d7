"""The chat template (Jinja) of an imported model: messages to text, and that text to ids.

Special tokens that the template writes are tokens. In what people say they are plain text: each is
put between two marks before the template sees it, and the marks are taken out again.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.data.chat import Message
from gptpy.tokenizer import Tokenizer, published
from gptpy.tokenizer.foreign import ForeignTokenizer

PRIVATE_USE = range(0xF0000, 0xFFFFE)
"""Code points without a meaning, which marks are taken from."""
Part = tuple[str, bool]
"""A stretch of rendered text, and whether it is a special token."""


class ChatTemplate:
    """A template as `transformers` runs it (`apply_chat_template`), in Jinja's sandbox.

    `variables`: what the template may name beside the messages, as `bos_token`. `ConfigError` for a
    template that Jinja cannot read.
    """

    def __init__(self, source: str, tokenizer: Tokenizer, variables: Mapping[str, str]) -> None:
        from jinja2.exceptions import TemplateError

        self.tokenizer, self.variables = tokenizer, dict(variables)
        longest_first = sorted(tokenizer.special_tokens_set, key=lambda s: (-len(s), s))
        self._special = "|".join(map(re.escape, longest_first)) or "(?!)"  # the last never matches
        try:
            self._template = _environment().from_string(source)
        except TemplateError as error:
            raise ConfigError(f"the chat template cannot be read: {error}") from None

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """The conversation up to the beginning of the assistant's next reply, as ids.

        `ConfigError` where the template refuses the messages.
        """
        said = "".join(message.content for message in messages)
        free = (chr(point) for point in PRIVATE_USE if chr(point) not in said)
        marks = next(free), next(free)
        special = re.compile(self._special)
        marked = [
            {
                "role": message.role,
                "content": special.sub(lambda m: m[0].join(marks), message.content),
            }
            for message in messages
        ]
        rendered = self._render(marked)
        if isinstance(self.tokenizer, ForeignTokenizer):
            if not any(mark in rendered for mark in marks):
                return self.tokenizer.encode_with_special(rendered)
            return self.tokenizer.encode_parts(self._parts(rendered, marks))
        ids: list[int] = []
        for text, is_special in self._parts(rendered, marks):
            if is_special:
                ids.append(self.tokenizer.encode_single_token(text))
            else:
                ids += self.tokenizer.encode_ordinary(text)
        return ids

    def _render(self, messages: list[dict[str, str]]) -> str:
        try:
            return self._template.render(
                self.variables,
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=True,
            )
        except Exception as error:  # a template is a program and may fail in any way
            what = str(error) or type(error).__name__
            raise ConfigError(
                f"the model's chat template refuses this conversation: {what}"
            ) from None

    def _parts(self, rendered: str, marks: tuple[str, str]) -> Iterator[Part]:
        """Special tokens and the text between them; a special token beside a mark is text.

        A template that cuts texts may separate the two marks, so one of them suffices.
        """
        start, end = marks
        found = re.compile(
            f"{start}(?P<said>{self._special}){end}?|(?P<cut>{self._special}){end}"
            f"|[{start}{end}]|(?P<token>{self._special})"
        )
        text, at = "", 0
        for match in found.finditer(rendered):
            text += rendered[at : match.start()] + (match["said"] or match["cut"] or "")
            at = match.end()
            if match["token"]:
                yield from _text_part(text)
                yield match["token"], True
                text = ""
        yield from _text_part(text + rendered[at:])


def _text_part(text: str) -> Iterable[Part]:
    return [(text, False)] if text else []


def read_chat_template(folder: Path, tokenizer: Tokenizer) -> ChatTemplate | None:
    """The template in the folder of a published model, None without one; `ConfigError`."""
    source = published.chat_template(folder)
    if source is None:
        return None
    try:
        return ChatTemplate(source, tokenizer, published.special_texts(folder))
    except ConfigError as error:
        raise ConfigError(f"{folder}: {error}") from None


def _environment() -> Any:
    """Jinja's sandbox with what templates of published models rely on."""
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}`: marks what training scores, and changes no text."""

        tags = {"generation"}  # noqa: RUF012 - Jinja's interface

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json  # Jinja's own escapes HTML
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment
