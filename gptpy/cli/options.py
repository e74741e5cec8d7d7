"""What all verbs share: how their help looks, and `--section.key VALUE` for the settings."""

from __future__ import annotations

import argparse
import functools
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn


class Verb(argparse.ArgumentParser):
    """The parser of one verb, which may take settings as `--section.key VALUE`.

    argparse never sees those options: the settings check them and can say which keys there are.
    `--help` lists them all.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Collect dotted options as pairs in `overrides`; everything else is argparse's."""
        if args is None:
            return super().parse_known_args(args, namespace)
        overrides: list[tuple[str, str]] = []
        if self.get_default("dotted"):
            args, overrides = split_overrides(list(args), self)
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown: {shlex.join(unknown)}{self._suggestion(unknown)}")
        namespace.overrides = overrides
        return namespace, unknown

    def _suggestion(self, unknown: Sequence[str]) -> str:
        """The options and settings whose names are nearest to those that are unknown."""
        known = {}
        if self.get_default("dotted"):
            from gptpy.config.run import settings

            keys = [key.name for section in settings() for key in section.keys]
            known = {f"--{key.rpartition('.')[2]}": f"--{key}" for key in keys}
        known |= {name: name for name in self._option_string_actions}
        names = [word.partition("=")[0].replace("_", "-") for word in unknown if word[:2] == "--"]
        spelt = {name.replace("_", "-"): full for name, full in known.items()}
        near = [n for name in names for n in get_close_matches(name, spelt, n=1, cutoff=0.7)]
        return f"; did you mean {' or '.join(spelt[n] for n in near)}?" if near else ""

    def error(self, message: str) -> NoReturn:
        """One line, as all other mistakes; `--help` has the usage."""
        from gptpy.cli.errors import one_line

        self.exit(2, f"gptpy: error: {one_line(message)}; see {self.prog} --help\n")

    def format_help(self) -> str:
        """The verb's own options and example; then the settings, section by section."""
        text = super().format_help()
        if self.get_default("dotted"):
            text += "\n" + settings_help(self.get_default("defaults"))
        return text


def split_overrides(
    arguments: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[list[str], list[tuple[str, str]]]:
    """Separate `--a.b V` and `--a.b=V` from the other arguments."""
    rest: list[str] = []
    overrides: list[tuple[str, str]] = []
    remaining = iter(arguments)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if not _is_setting(name):
            rest.append(argument)
            continue
        if not equals:
            value = next(remaining, None)
            if value is None or _is_setting(value):
                parser.error(f"{name} needs a value (one that begins with -- as {name}=VALUE)")
        overrides.append((name[2:].replace("-", "_"), value))
    return rest, overrides


def _is_setting(word: str) -> bool:
    return re.fullmatch(r"--[\w-]+(\.[\w-]+)+(=.*)?", word, re.DOTALL) is not None


def settings_help(defaults: Mapping[str, Any]) -> str:
    """One line a setting: name, type, meaning, choices and default; `defaults` are a verb's own."""
    from gptpy.config.command_line import as_written
    from gptpy.config.run import settings

    own = dict(_dotted(defaults))
    listing = argparse.ArgumentParser(
        description="Settings, as options or as keys of config.toml. What a value means follows\n"
        "from the setting: a TEXT is as written; a LIST as in TOML, or one item, given several\n"
        "times for more; none is no value:",
        add_help=False,
        usage=argparse.SUPPRESS,
        formatter_class=layout(),
    )
    for section in settings():
        group = listing.add_argument_group(f"[{section.name}] {section.meaning}")
        for key in section.keys:
            default = own.get(key.name, key.default)
            # Where the default is None, its meaning says what follows from that
            meaning, _, implied = key.meaning.partition(" (default: ")
            shown = implied.removesuffix(")") if default is None else as_written(default)
            notes = [", ".join(key.choices)] if key.choices else []
            notes.append(f"default: {shown}")
            text = f"{meaning} ({'; '.join(notes)})"
            group.add_argument(f"--{key.name}", metavar=key.type, help=text.replace("%", "%%"))
    return listing.format_help()


def _dotted(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def add_step(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add `--step`, which chooses a checkpoint of a run."""
    parser.add_argument(
        "--step",
        metavar="N",
        help="checkpoint to use: its number, best or last (default: the last; the best of a run "
        "that stopped early)",
    )


def say_choice(loaded: Any) -> None:
    """Name the checkpoint that was taken, on stderr, where it is not simply the last."""
    if loaded.reason.startswith("the best"):
        print(f"step {loaded.step} of {loaded.folder}: {loaded.reason}", file=sys.stderr)


def layout() -> Any:
    """Wide enough that most settings fit on one line, also where there is no terminal."""
    width = min(shutil.get_terminal_size((120, 24)).columns, 120) - 2
    return functools.partial(
        argparse.RawDescriptionHelpFormatter, width=width, max_help_position=38
    )


def add_verb(
    verbs: Any,
    name: str,
    run: Any,
    summary: str,
    example: str,
    *,
    dotted: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> argparse.ArgumentParser:
    """Add a verb with its one-line summary and an example in `--help`.

    `dotted`: it takes `--section.key VALUE`; `defaults`: nested tables of the settings for which it
    has other defaults.
    """
    parser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n{example}",
        formatter_class=layout(),
        # `--section.key` is there for the help only, and no option stands for it
        allow_abbrev=not dotted,
    )
    parser.set_defaults(run=run, dotted=dotted, defaults=defaults or {})
    return parser
