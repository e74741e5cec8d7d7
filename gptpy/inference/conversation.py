"""What a caller writes, a text or a conversation, as the ids with which a run begins."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.data.chat import Message, messages_of, request_segments, segment_ids
from gptpy.inference.chat_template import ChatTemplate, read_chat_template
from gptpy.inference.text import prompt_ids
from gptpy.runs.opening import Loaded
from gptpy.tokenizer import published

NO_TEMPLATE = (
    "this model has no chat template: it was trained to continue texts, not to answer. "
    "Let it continue one, or teach it to answer with `gptpy finetune`"
)


@dataclass(frozen=True)
class Prompt:
    """The ids that generation begins with; the fields are named as in `Request`."""

    ids: list[int]
    end_ids: frozenset[int]
    """The ids that end the answer or the text."""
    source: list[int] | None = None
    """What the encoder of an encoder-decoder reads."""

    @property
    def arguments(self) -> dict[str, Any]:
        """As arguments of `Request`."""
        return {"prompt": self.ids, "end_ids": self.end_ids, "source": self.source}


class Prompts:
    """Makes prompts for one run. Special tokens in texts are plain text; any thread may call it.

    A conversation is written by the run's own template (`data.form` = "chat"), or by the chat
    template of the published model that was imported. Raises `ConfigError` for an encoder.
    """

    def __init__(self, loaded: Loaded) -> None:
        if loaded.config.model.architecture == "encoder":
            raise ConfigError(f"{loaded.folder}: an encoder does not generate")
        self.loaded, self.tokenizer = loaded, loaded.tokenizer
        self.data, self.end = loaded.config.data, loaded.end_of_text
        self.end_ids = frozenset(loaded.ends)
        self.no_template = NO_TEMPLATE

    @property
    def has_template(self) -> bool:
        """Whether conversations can be written."""
        return self._chats or self._imported is not None

    @property
    def _chats(self) -> bool:
        return self.data.form == "chat" and self.end is not None

    @functools.cached_property
    def _imported(self) -> ChatTemplate | None:
        return read_chat_template(self.loaded.folder / published.FOLDER, self.tokenizer)

    @functools.cached_property
    def _answer_ends(self) -> frozenset[int]:
        """What ends an answer: also the token that the published tokenizer closes turns with."""
        closing = published.special_texts(self.loaded.folder / published.FOLDER).get("eos_token")
        known = closing in self.tokenizer.special_tokens_set
        more = [self.tokenizer.encode_single_token(closing)] if closing and known else []
        return self.end_ids.union(more)

    def of_text(self, text: str, *, raw: bool = False) -> Prompt:
        """A text to continue, in the form of the training rows.

        So it is a user's turn where the run learned from conversations, and the source for an
        encoder-decoder. `raw`: a conversation's run continues it as it stands, too. An empty text
        begins as documents do; `ConfigError` where the tokenizer has nothing to begin with.
        """
        if self._chats and not raw:
            return self.of_messages([Message("user", text)])
        ids, source = prompt_ids(self.tokenizer, text, self.data, self.end, self.loaded.beginning)
        ids = ids or list(self.loaded.ends[:1])
        if not ids:
            raise ConfigError(
                "the prompt is empty and this tokenizer has no end-of-text token to start from: "
                "give a text"
            )
        return Prompt(ids, self.end_ids, source)

    def of_ids(self, ids: Sequence[int]) -> Prompt:
        """Ids to continue, as they are."""
        if self.loaded.config.model.architecture == "encoder-decoder":
            raise ConfigError("an encoder-decoder reads a source: give a text instead of ids")
        if not len(ids):
            raise ConfigError("prompt: expected at least one id, got none")
        return Prompt([int(i) for i in ids], self.end_ids)

    def of_messages(self, messages: Sequence[Message]) -> Prompt:
        """A conversation up to where the assistant's next reply begins.

        `ConfigError` without messages, without a template, and where the template refuses them.
        """
        if not messages:
            raise ConfigError("messages: expected at least one, got none")
        if self._chats:
            assert self.end is not None
            parts = request_segments(messages, self.data.template)
            return Prompt(segment_ids(parts, self.tokenizer, self.end), self.end_ids)
        if self._imported is None:
            raise ConfigError(self.no_template)
        ids = self._imported.ids(messages)
        return Prompt(ids or list(self.loaded.ends[:1]), self._answer_ends)

    def fit(self, messages: Sequence[Message], max_tokens: int) -> tuple[Prompt, int]:
        """The prompt of as many of the last turns as leave room for an answer.

        Returns it with the number of messages that were left out. What the system says stays. Room
        is `max_tokens`, or half the context if that is less. The last message is never left out.
        """
        context = self.loaded.config.model.block_size
        most = max(1, context - min(max_tokens, context // 2))
        system = [message for message in messages if message.role == "system"]
        turns = [message for message in messages if message.role != "system"]
        for first in range(len(turns)):
            if first and turns[first].role != "user":
                continue  # a conversation begins with its user
            kept = [*system, *turns[first:]]
            prompt = self.of_messages(kept)
            if len(prompt.ids) <= most:
                return prompt, first
        last = [*system, *turns[-1:]]
        return self.of_messages(last), len(messages) - len(last)


def read_messages(value: Any) -> list[Message]:
    """The messages of parsed JSON, a list of objects with `role` and `content`; `ConfigError`."""
    try:
        return messages_of(value)
    except ValueError as error:
        raise ConfigError(str(error)) from None
