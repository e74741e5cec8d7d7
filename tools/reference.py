"""Writes the reference pages that follow from the code: the command line and the configuration.

    python tools/reference.py            write docs/reference/command-line.md, configuration.md
    python tools/reference.py --check    say which is not what the code gives; exit code 1

The pages are committed, so that they can be read where the sources are; `make docs` writes them
anew, and a test compares them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTE = "<!-- written by tools/reference.py: edit the code instead -->"


def command_line() -> str:
    """Every verb with its arguments, from the parsers themselves."""
    from gptpy.cli import _parser

    lines = [
        NOTE,
        "# The command line",
        "",
        "`gptpy VERB --help` shows the same. Exit codes: 0, 1 (the job failed), 2 (a mistake in",
        "the call), 130 (Ctrl-C).",
        "",
    ]
    for verb, parser in _verbs(_parser()):
        lines += _verb(verb, parser)
    return "\n".join(lines).rstrip("\n") + "\n"


def _verbs(
    parser: argparse.ArgumentParser, above: str = "gptpy"
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                nested = any(isinstance(a, argparse._SubParsersAction) for a in inner._actions)
                if not nested:
                    yield f"{above} {name}", inner
                yield from _verbs(inner, f"{above} {name}")


def _verb(name: str, parser: argparse.ArgumentParser) -> list[str]:
    # `--section.key` is there for the help only, and has the dest "_"
    actions = [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction) and action.dest != "_"
    ]
    words = [_usage(action) for action in actions if not action.option_strings]
    lines = [f"## {name}", "", str(parser.description), "", "```", " ".join([name, *words])]
    lines += ["```", ""]
    rows = [(_names(action), _meaning(action)) for action in actions]
    lines += ["| argument | meaning |", "|---|---|"]
    lines += [f"| {names} | {meaning} |" for names, meaning in rows]
    if parser.get_default("dotted"):
        lines.append("| `--section.key VALUE` | any key of the [configuration](configuration.md) |")
    if parser.epilog:
        # Each part of an epilog begins with a line of its own
        lines += ["", "```", parser.epilog.rstrip("\n"), "```"]
    return [*lines, ""]


def _usage(action: argparse.Action) -> str:
    name = _metavar(action)
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [...]"}.get(
        str(action.nargs), name
    )


def _metavar(action: argparse.Action) -> str:
    if action.metavar is not None:
        return str(action.metavar)
    if action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper()


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return _code(_metavar(action))
    value = "" if action.nargs == 0 else f" {_metavar(action)}"
    return ", ".join(_code(f"{name}{value}") for name in action.option_strings)


def _meaning(action: argparse.Action) -> str:
    text = (action.help or "") % {"default": action.default, "prog": "gptpy"}
    return _cell(f"{text} **(needed)**" if action.required and action.option_strings else text)


def configuration() -> str:
    """Every key of `config.toml`, from the settings themselves; and the presets."""
    from gptpy.config.command_line import as_written
    from gptpy.config.run import settings

    lines = [
        NOTE,
        "# The configuration",
        "",
        "Keys of a recipe's TOML and of a run's `config.toml`; as options they are",
        "`--section.key VALUE`. Wrong values and unknown keys are told all at once.",
        "",
    ]
    for section in settings():
        lines += [f"## [{section.name}]", "", f"{section.meaning}.", ""]
        lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        for key in section.keys:
            meaning, _, implied = key.meaning.partition(" (default: ")
            default = implied.removesuffix(")") if key.default is None else as_written(key.default)
            if key.choices:
                value = ", ".join(_code(choice) for choice in key.choices)
            else:
                value = key.type
            name = key.name.rpartition(".")[2]
            lines.append(f"| `{name}` | {value} | {_cell(default)} | {_cell(meaning)} |")
        lines.append("")
    return "\n".join([*lines, *_presets()]).rstrip("\n") + "\n"


def _presets() -> list[str]:
    from gptpy.config import GPTConfig
    from gptpy.config.presets import PRESETS
    from gptpy.model.size import count_parameters

    lines = [
        "## Presets",
        "",
        "`model.preset` names a shape, which the other keys change. Parameters are counted with",
        "the preset's own vocabulary; the data's replaces it.",
        "",
        "| preset | architecture | layers | heads | width | context | vocabulary | parameters |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in PRESETS:
        c = GPTConfig.preset(name)
        cells = [c.n_layer, c.n_head, c.n_embd, c.block_size, c.vocab_size, count_parameters(c)]
        figures = " | ".join(f"{cell:,}" for cell in cells)
        lines.append(f"| `{name}` | {c.architecture} | {figures} |")
    return lines


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    """One cell of a table: a bar in it would end it, a tag would be one."""
    joined = " ".join(text.split())
    return joined.replace("|", "\\|").replace("<", "&lt;") if "`" not in joined else joined


PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": command_line,
    "configuration.md": configuration,
}


def main() -> int:
    """Write the pages of the reference that follow from the code."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true")
    check: Any = parser.parse_args().check
    stale = 0
    for name, make in PAGES.items():
        path, text = FOLDER / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            print(f"{name}: is not what the code gives: python tools/reference.py")
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
            print(name)
    return stale


if __name__ == "__main__":
    sys.exit(main())
