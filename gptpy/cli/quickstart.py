"""`gptpy quickstart`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptpy.cli.clock import STARTED
from gptpy.cli.options import add_verb
from gptpy.cli.train import goes_on
from gptpy.config.errors import ConfigError

SECONDS = 165.0
# What a quickstart has written when its training begins
BEGUN = {".lock", "text.txt", "tokenizer.json", "data", "config.toml", "metrics.jsonl"}
EXAMPLE = """\
  gptpy quickstart                         Tiny Shakespeare, three minutes on two cores
  gptpy quickstart my.txt -o runs/mine     any UTF-8 text
  gptpy quickstart --resume -o runs/mine   go on after Ctrl-C"""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(
        verbs,
        "quickstart",
        run,
        "everything on one text: tokenizer, data, model, evaluation, plots, sample",
        EXAMPLE,
        dotted=True,
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="a UTF-8 text file")
    parser.add_argument(
        "-o", "--output", metavar="RUN", help="run directory (default: runs/quickstart, numbered)"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an interrupted run; with TEXT, begin where there is none yet",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"time for everything (default: {SECONDS:g})",
    )
    parser.add_argument(
        "--section.key", dest="_", metavar="VALUE", help="any key of config.toml, as --train.seed 1"
    )


def run(arguments: argparse.Namespace) -> int:
    """Train on the text and show what came out."""
    seconds = SECONDS if arguments.seconds is None else arguments.seconds
    if not seconds > 0:
        raise ConfigError(f"--seconds must be greater than 0, got {seconds:g}")
    run_dir = _run_dir(arguments)
    resumed = arguments.resume and (goes_on(run_dir, asked=True) or not arguments.text)
    text: Any = None
    if arguments.text or not resumed:
        # Before torch loads, so that a mistake is reported at once
        text = _text(arguments.text)
    from gptpy.cli.show import Live
    from gptpy.config.run import with_overrides
    from gptpy.quickstart import quickstart, resume

    with Live() as live:
        overrides = with_overrides({}, arguments.overrides)
        if resumed:
            done = resume(
                run_dir,
                live,
                text=text,
                seconds=arguments.seconds,
                started=STARTED,
                overrides=overrides,
            )
        else:
            done = quickstart(
                text,
                run_dir,
                live,
                seconds=seconds,
                started=STARTED,
                overrides=overrides,
            )
    if done.interrupted:
        print(f"stopped at step {done.summary['step']} and saved; to go on:")
        print(f"  gptpy quickstart --resume -o {run_dir}")
        return 130
    _show(run_dir, done.summary)
    print(f"\n{done.sample}")
    return 0


def _text(path: str | None) -> Any:
    """The text file, checked, or the default text where none is given."""
    from gptpy.data.text import check_text, default_text

    if not path:
        return default_text()
    check_text(path)
    return Path(path)


def _run_dir(arguments: argparse.Namespace) -> Path:
    """The folder given by `-o`, or the first free `runs/quickstart[-N]`; to resume, the last."""
    if arguments.output:
        path = Path(arguments.output)
        if path.exists() and not arguments.resume and not _may_begin(path):
            raise ConfigError(
                f"{path} exists and is not empty: take another -o, or --resume to go on with it"
            )
        return path
    number, path = 1, Path("runs/quickstart")
    last = path
    while path.exists():
        last, number = path, number + 1
        path = Path(f"runs/quickstart-{number}")
    return last if arguments.resume else path


def _may_begin(path: Path) -> bool:
    """Whether a folder is empty, or holds a quickstart that ended before its first checkpoint."""
    if path.is_file():
        return False
    names = {inside.name for inside in path.iterdir()}
    ours = "config.toml" in names and names <= BEGUN
    return not names or (ours and not goes_on(path, asked=True))


def _windows(summary: dict[str, Any]) -> str:
    """In which windows the final score was taken, and why it differs from the ones before."""
    context, stride = summary["context"], summary["stride"]
    how = f"windows of {context} tokens, each moved on by {stride}"
    return f"{how}; while training side by side: less context, another loss"


def _show(run_dir: Path, summary: dict[str, Any]) -> None:
    from gptpy.cli.show import table

    bits = summary["bits_per_byte"]
    bits = "unknown" if bits is None else f"{bits:.4f} on {summary['val_bytes']:,} bytes"
    rows = [
        ("vocabulary", f"{summary['vocab_size']} tokens"),
        ("bytes per token", f"{summary['bytes_per_token']:.2f}"),
        ("parameters", f"{summary['n_params']:,}"),
        ("seconds", f"{summary['seconds']:.0f}, {summary['train_seconds']:.0f} of them training"),
        ("bits per byte", bits),
        ("perplexity", f"{summary['perplexity']:.2f} per token"),
        ("scored in", _windows(summary)),
        ("everything", f"{run_dir}/ (plots/loss.png, plots/attention.png, summary.json, ...)"),
    ]
    table("quickstart", rows)
