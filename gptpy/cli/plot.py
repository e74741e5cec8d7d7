"""`gptpy plot`: a run's pictures and report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_step, add_verb, say_choice
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy plot runs/quickstart
  gptpy plot runs/quickstart --text "To be, or not to be\""""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "plot", run, "draw a run into its plots/ folder", EXAMPLE)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory")
    parser.add_argument(
        "--text", metavar="TEXT", help="what to show attention on (default: validation text)"
    )
    add_step(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw everything that the run has."""
    run_dir = Path(arguments.run_dir)
    if not (run_dir / "metrics.jsonl").is_file():
        raise ConfigError(f"{run_dir}: is not a run directory (no metrics.jsonl)")
    from gptpy.report.page import draw_run
    from gptpy.runs.opening import load

    loaded = load(run_dir, step=arguments.step, device="cpu")
    say_choice(loaded)
    for path in draw_run(run_dir, loaded, text=arguments.text):
        print(path)
    return 0
