"""`gptpy chat`: a conversation on the terminal, or line by line from standard input."""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptpy.cli.generation import add_engine, add_sampling, make_engine, open_run, sampling_of
from gptpy.cli.options import add_verb
from gptpy.config.errors import ConfigError

if TYPE_CHECKING:
    from gptpy.inference.chat import Chat

EXAMPLE = """\
  gptpy chat runs/chat
  gptpy chat runs/chat --system "Answer in one sentence." --temperature 0
  echo "What is a token?" | gptpy chat runs/chat"""

COMMANDS = {
    "/system TEXT": "what the system says from now on (without TEXT: nothing)",
    "/retry": "another answer to what you said last",
    "/reset": "forget what was said",
    "/save FILE": "write the conversation as a row that gptpy finetune reads",
    "/help": "this list",
    "/exit": "leave, as Ctrl-D does",
}
ENDS = ("/exit", "/quit")
NOTES = {
    "turns": "",
    "source": "this model turns each text that you write into another; it remembers nothing.",
    "text": "this model was trained to continue text, not to answer: it goes on with what you "
    "write, and what you write next goes on from there. gptpy finetune teaches it to answer.",
}


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    listing = "\n".join(f"  {name:<14}{meaning}" for name, meaning in COMMANDS.items())
    example = f"{EXAMPLE}\n\nin a conversation:\n{listing}\n  {'//text':<14}a text that begins /"
    parser = add_verb(verbs, "chat", run, "talk with a model", example)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory or a checkpoint folder")
    parser.add_argument("--system", default="", metavar="TEXT", help="what the system says first")
    add_sampling(parser, tokens=512)
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Answer line after line until the input ends."""
    if arguments.tokens < 1:
        raise ConfigError("--tokens must be at least 1")
    sampling = sampling_of(arguments)
    loaded = open_run(arguments)
    from gptpy.inference.chat import Chat
    from gptpy.inference.conversation import Prompts

    chat = Chat(
        Prompts(loaded),
        make_engine(
            arguments,
            loaded,
            exact=False,
            max_running=1,
            step_tokens=2048,
            cache_tokens=max(64, 2 * loaded.config.model.block_size),
        ),
        max_tokens=arguments.tokens,
        min_tokens=arguments.min_tokens,
        sampling=sampling,
        stop=arguments.stop,
        seed=arguments.seed,
        system=arguments.system,
    )
    if chat.reads_sources and arguments.system:
        raise ConfigError("--system: this model reads each text by itself")
    terminal = _is_terminal(sys.stdin) and _is_terminal(sys.stdout)
    kind = "turns" if chat.answers_turns else "source" if chat.reads_sources else "text"
    note = NOTES[kind]
    if terminal:
        note = f"{note}\n/help lists the commands, Ctrl-C ends an answer, Ctrl-D leaves.".strip()
    if note:
        print(note, file=sys.stderr, flush=True)
    _converse(chat, _typed if terminal else _piped, terminal)
    return 0


def _is_terminal(stream: Any) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _typed() -> str | None:
    """A line from the terminal; None at its end."""
    with suppress(ImportError):
        import readline  # noqa: F401 - gives `input` editing and a history
    while True:
        try:
            return input("> ")
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            print("\nCtrl-D or /exit leaves")


def _piped() -> str | None:
    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input: expected UTF-8: {error}") from None
    return line.removesuffix("\n").removesuffix("\r") if line else None


def _converse(chat: Chat, read: Callable[[], str | None], terminal: bool) -> None:
    while (line := read()) is not None:
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word in ENDS:
            return
        try:
            if not line.startswith("/"):
                _say(chat, chat.answer(line), terminal)
            elif line.startswith("//"):
                _say(chat, chat.answer(line[1:]), terminal)
            elif word == "/retry":
                _say(chat, chat.retry(), terminal)
            else:
                _tell(_obey(chat, word, rest.strip()))
        except (ConfigError, OSError) as error:
            if not terminal:
                raise
            _tell(f"error: {error}")


def _say(chat: Chat, pieces: Iterator[str], terminal: bool) -> None:
    """Prints an answer as it comes; Ctrl-C ends it."""
    from gptpy.inference.chat import on_interrupt

    if chat.dropped > chat.told:
        chat.told = chat.dropped
        what = "of the oldest messages" if chat.answers_turns else "tokens of the beginning"
        _tell(f"note: {chat.dropped} {what} no longer fit the context and were left out")
    with on_interrupt(chat.stop_answer):
        for piece in pieces:
            sys.stdout.write(_harmless(piece) if terminal else piece)
            sys.stdout.flush()
    print(flush=True)


def _obey(chat: Chat, word: str, rest: str) -> str:
    """Does what a command says; what to tell."""
    if word == "/help":
        return "\n".join(f"{name:<14}{meaning}" for name, meaning in COMMANDS.items())
    if word == "/system":
        if chat.reads_sources:
            raise ConfigError("/system: this model reads each text by itself")
        chat.system = rest
        return f"the system says: {rest}" if rest else "the system says nothing"
    if word == "/reset":
        chat.reset()
        return "what was said is forgotten"
    if word == "/save":
        if not rest:
            raise ConfigError("/save FILE: which file?")
        path = Path(rest)
        with suppress(RuntimeError):  # a home of somebody who does not exist is a name like others
            path = path.expanduser()
        chat.save(path)
        return f"wrote {path}"
    raise ConfigError(f"{word}: no such command; /help lists them, //... is a text that begins /")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _harmless(text: str) -> str:
    """Without the characters that a terminal would obey: a model may say anything."""
    return "".join(
        repr(c)[1:-1] if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text
    )
