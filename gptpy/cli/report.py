"""`gptpy report`: a run as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_step, add_verb, say_choice
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy report runs/quickstart
  gptpy report runs/quickstart --text "To be, or not to be" -o to-send.html"""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "report", run, "write a run as one HTML page to read or send", EXAMPLE)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the page to write (default: RUN/report.html)"
    )
    parser.add_argument(
        "--text",
        action="append",
        metavar="TEXT",
        help="what to show attention and probabilities on, may be given several times (default: "
        "the beginning of the validation data)",
    )
    add_step(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    run_dir = checked_run(arguments.run_dir)
    path = Path(arguments.output) if arguments.output else None
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ConfigError(f"{path}: expected the name of a file in a folder that exists")
    from gptpy.report.page import write_report
    from gptpy.runs.opening import load

    loaded = load(run_dir, step=arguments.step, device="cpu", dtype="float32")
    say_choice(loaded)
    print(write_report(run_dir, loaded, path, texts=arguments.text or ()))
    return 0


def checked_run(name: str) -> Path:
    """The folder, or `ConfigError` where it is no run."""
    run_dir = Path(name)
    if not (run_dir / "metrics.jsonl").is_file():
        raise ConfigError(f"{run_dir}: is not a run directory (no metrics.jsonl)")
    return run_dir
