"""The prompts of `gptpy generate`: from an option, a file, or standard input."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptpy.config.errors import ConfigError

if TYPE_CHECKING:
    from gptpy.inference.conversation import Prompt, Prompts

KEYS = ("prompt", "messages")


@dataclass
class Given:
    """One prompt: a text, ids, or the messages of a conversation as parsed JSON."""

    value: Any
    kind: str = "text"
    where: str = ""
    """File and line, for messages about it."""


def add_prompts(parser: argparse.ArgumentParser) -> None:
    """Add the options; at most one of them says what the prompts are."""
    group = parser.add_argument_group("prompts", "of which one is given (default: a new document)")
    one = group.add_mutually_exclusive_group()
    one.add_argument("-p", "--prompt", metavar="TEXT", help="the beginning")
    one.add_argument(
        "--prompt-file",
        metavar="F",
        help="a file that is the beginning, without its last line break; - is standard input, "
        "which is also read where it is a pipe or a file and no prompt is given",
    )
    one.add_argument(
        "--prompts",
        metavar="F",
        help="a file of many, one a line (- is standard input); the lines of a .jsonl file are "
        'texts, {"prompt": text or ids} or {"messages": [...]}',
    )
    group.add_argument("--jsonl", action="store_true", help="the lines of --prompts are JSON")
    form = group.add_mutually_exclusive_group()
    form.add_argument(
        "--chat",
        action="store_true",
        help="a prompt is a user's turn, written by the model's chat template (default for runs "
        "that were fine-tuned on conversations)",
    )
    form.add_argument(
        "--raw", action="store_true", help="continue prompts as they stand, also with such runs"
    )


def read_prompts(arguments: argparse.Namespace) -> list[Given]:
    """What was given; `ConfigError` for files that hold none."""
    if arguments.jsonl and arguments.prompts is None:
        raise ConfigError("--jsonl belongs to --prompts F")
    if arguments.prompt is not None:
        return [Given(arguments.prompt)]
    file: str | None = arguments.prompt_file
    name: str | None = arguments.prompts
    if file is None and name is None and _is_fed():
        file = "-"
    if file is not None:
        return [Given(_read(file).removesuffix("\n").removesuffix("\r"))]
    if name is None:
        return [Given("")]
    as_json = arguments.jsonl or Path(name).suffix == ".jsonl"
    lines = [line.removesuffix("\r") for line in _read(name).split("\n")]
    found = [
        _from_json(line, f"{_name(name)}, line {number}") if as_json else Given(line)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not found:
        raise ConfigError(f"{_name(name)}: holds no prompt: expected one a line")
    return found


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


def _is_fed() -> bool:
    """Whether something is piped or redirected into standard input."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # closed, or not a file
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _read(file: str) -> str:
    if file == "-":
        try:
            return sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"standard input: expected UTF-8, byte {error.start} is not"
            ) from None
    from gptpy.data.text import read_text

    return read_text(file).decode("utf-8")


def _from_json(line: str, where: str) -> Given:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: no JSON: {error}") from None
    if isinstance(value, str):
        return Given(value, where=where)
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in KEYS:
        found = f"keys {sorted(value)}" if isinstance(value, dict) else type(value).__name__
        raise ConfigError(
            f'{where}: expected a text, {{"prompt": ...}} or {{"messages": [...]}}, found {found}'
        )
    key, content = next(iter(value.items()))
    if key == "messages":
        return Given(content, "messages", where)
    if isinstance(content, str):
        return Given(content, where=where)
    whole = isinstance(content, list) and all(type(i) is int for i in content)
    if not whole:
        raise ConfigError(f"{where}: prompt: expected a text or a list of ids")
    return Given(content, "ids", where)


def make_prompt(given: Given, prompts: Prompts, *, chat: bool, raw: bool) -> Prompt:
    """The ids of a prompt. `ConfigError`, which names the line where there is one."""
    from gptpy.data.chat import Message
    from gptpy.inference.conversation import read_messages

    try:
        if given.kind == "messages":
            return prompts.of_messages(read_messages(given.value))
        if given.kind == "ids":
            return prompts.of_ids(given.value)
        if chat:
            return prompts.of_messages([Message("user", given.value)])
        return prompts.of_text(given.value, raw=raw)
    except ConfigError as error:
        if not given.where:
            raise
        raise ConfigError(f"{given.where}: {error}") from None
