"""A conversation in progress: its history, the next answer piece by piece, what no longer fits."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.data.chat import Message
from gptpy.inference.conversation import Prompt, Prompts
from gptpy.inference.engine import Engine
from gptpy.inference.request import Handle, Request
from gptpy.inference.sampling import Sampling
from gptpy.storage import atomic


@dataclass
class Chat:
    """One conversation with one engine.

    A run without a chat template continues the text so far; an encoder-decoder answers each source
    by itself. With `seed`, the k-th answer is drawn with `seed + k`, so that another try is
    another text.
    """

    prompts: Prompts
    engine: Engine
    max_tokens: int = 512
    min_tokens: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    stop: Sequence[str] = ()
    seed: int | None = None
    system: str = ""
    """What the system says, before everything else."""
    history: list[Message] = field(default_factory=list)
    """What user and assistant have said."""
    answers: int = 0
    """How many have been begun."""
    dropped: int = 0
    """Messages, or tokens of a text, that the last prompt left out."""
    told: int = 0
    """How much of that the user knows."""
    handle: Handle | None = None
    """Of the answer that is being written."""
    _saved: set[Path] = field(default_factory=set)

    @property
    def answers_turns(self) -> bool:
        """Whether the model knows turns; else it continues text."""
        return self.prompts.has_template

    @property
    def reads_sources(self) -> bool:
        """Whether each text is answered by itself."""
        return self.prompts.loaded.config.model.architecture == "encoder-decoder"

    def answer(self, text: str) -> Iterator[str]:
        """The answer to `text`, in pieces. What `stop_answer` cut off stays part of the history.

        `ConfigError` where the text cannot be answered; then the history is as before.
        """
        self.history.append(Message("user", text))
        try:
            prompt, self.dropped = self._prompt()
            seed = None if self.seed is None else self.seed + self.answers
            request = Request(
                **prompt.arguments,
                max_tokens=self.max_tokens,
                min_tokens=self.min_tokens,
                sampling=self.sampling,
                seed=seed,
                stop=self.stop,
            )
            self.handle = self.engine.submit(request)
        except ConfigError:
            self.history.pop()
            raise
        self.answers += 1
        return self._pieces(self.handle)

    def _pieces(self, handle: Handle) -> Iterator[str]:
        output = handle.outputs[0]
        try:
            while not handle.done:
                for piece in self.engine.step():
                    if piece.handle is handle and piece.text:
                        yield piece.text
        finally:
            handle.cancel()
            while not handle.done:
                self.engine.step()
            self.history.append(Message("assistant", output.text))
            self.handle = None
        if output.error is not None:
            del self.history[-2:]
            raise ConfigError(output.error)

    def stop_answer(self) -> None:
        """Ends the answer at the next step; a signal handler may call it."""
        if self.handle is not None:
            self.handle.cancel()

    def retry(self) -> Iterator[str]:
        """Another answer to the last thing that was said; `ConfigError` where there is none."""
        if len(self.history) < 2:
            raise ConfigError("nothing has been answered yet")
        text = self.history[-2].content
        del self.history[-2:]
        return self.answer(text)

    def reset(self) -> None:
        """Forgets what was said; `system` stays."""
        self.history.clear()
        self.dropped = self.told = 0

    def _prompt(self) -> tuple[Prompt, int]:
        """The next prompt, and how much was left out of it."""
        if self.reads_sources:
            return self.prompts.of_text(self.history[-1].content), 0
        if self.answers_turns:
            system = [Message("system", self.system)] if self.system else []
            return self.prompts.fit([*system, *self.history], self.max_tokens)
        prompt = self.prompts.of_text(self.system + text_of(self.history), raw=True)
        context = self.prompts.loaded.config.model.block_size
        return prompt, max(0, len(prompt.ids) - context)

    def save(self, path: Path) -> None:
        """Write the conversation as a row that `gptpy finetune` reads, or a continued text as text.

        `ConfigError` for a file that was there before and that this conversation did not write.
        """
        if path.exists() and path.resolve() not in self._saved:
            raise ConfigError(f"{path}: exists already; choose another name")
        if not self.history:
            raise ConfigError("nothing has been said yet")
        if self.answers_turns or self.reads_sources:
            system = [{"role": "system", "content": self.system}] if self.system else []
            said: list[Any] = [{"role": m.role, "content": m.content} for m in self.history]
            text = json.dumps({"messages": system + said}, ensure_ascii=False) + "\n"
        else:
            text = self.system + text_of(self.history)
        atomic.write_text(path, text)
        self._saved.add(path.resolve())


def text_of(history: Sequence[Message]) -> str:
    """What was written and continued, as one text: what the user writes begins a line."""
    text = ""
    for message in history:
        begins = message.role == "user" and text and not text.endswith("\n")
        text += "\n" * bool(begins) + message.content
    return text


@contextmanager
def on_interrupt(action: Callable[[], None]) -> Iterator[None]:
    """Within, Ctrl-C calls `action` instead of raising: no step is left half done."""
    before = signal.signal(signal.SIGINT, lambda *_: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
