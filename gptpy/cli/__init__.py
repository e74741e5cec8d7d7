"""The `gptpy` command: parse, call the library, show; the only place that prints."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from gptpy.cli.clock import STARTED as STARTED  # first of all: the time of its import counts


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code: 0, 1 (the job failed), 2 (a user's mistake)."""
    arguments = _parser().parse_args(argv)
    from gptpy.cli.errors import escape_unprintable, reported
    from gptpy.cli.openmp import shorten_spinning

    shorten_spinning()
    escape_unprintable()
    try:
        code = reported(lambda: arguments.run(arguments))
        if argv is None:  # the program ends: a late Ctrl-C must not end in a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return code
    except BrokenPipeError:
        # The reader of our output has closed it (`| head`): Python must not flush it at exit
        sys.stdout = None  # type: ignore[assignment]
        return 1


def _parser() -> argparse.ArgumentParser:
    from gptpy.cli import (
        bench,
        chat,
        evaluate,
        export,
        finetune,
        generate,
        importing,
        info,
        plot,
        prepare,
        quickstart,
        report,
        serve,
        tokenizer,
        train,
    )
    from gptpy.cli.options import Verb, layout

    parser = argparse.ArgumentParser(
        prog="gptpy",
        description="Train a GPT from a text and generate with it.",
        epilog="gptpy VERB --help shows a verb's options and an example.",
        formatter_class=layout(),
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=Verb)
    modules = (
        quickstart,
        tokenizer,
        prepare,
        train,
        finetune,
        generate,
        chat,
        serve,
        evaluate,
        bench,
        plot,
        report,
        importing,
        export,
        info,
    )
    for module in modules:
        module.add(verbs)
    return parser
