"""Options that several verbs share, and `--section.key VALUE`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class Verb(argparse.ArgumentParser):
    """A parser that lets `--section.key VALUE` through to the configuration.

    argparse knows only options that were announced; dotted ones are checked by the configuration
    itself, which can say which keys there are.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Collect dotted options as pairs in `overrides`; everything else is argparse's."""
        if args is None or not self.get_default("dotted"):
            return super().parse_known_args(args, namespace)
        rest, overrides = split_overrides(list(args), self)
        namespace, unknown = super().parse_known_args(rest, namespace)
        namespace.overrides = overrides
        return namespace, unknown


def split_overrides(
    arguments: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[list[str], list[tuple[str, str]]]:
    """Separate `--a.b V` and `--a.b=V` from the other arguments."""
    rest: list[str] = []
    overrides: list[tuple[str, str]] = []
    remaining = iter(arguments)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if not (name.startswith("--") and "." in name and " " not in name):
            rest.append(argument)
            continue
        if not equals:
            value = next(remaining, None)
            if value is None:
                parser.error(f"{name} needs a value")
        overrides.append((name[2:].replace("-", "_"), value))
    return rest, overrides


def add_verb(
    verbs: Any, name: str, run: Any, summary: str, example: str, *, dotted: bool = False
) -> argparse.ArgumentParser:
    """A verb with its one-line summary and an example at the end of `--help`."""
    parser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, dotted=dotted)
    return parser
