"""`gptpy train`: a run from a prepared folder or from a configuration file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_verb
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy train data/book --preset modern-10m -o runs/book --train.steps 2000
  gptpy train data/book --config recipe.toml -o runs/book --model.n_layer 8
  gptpy train recipes/b-characters.toml -o runs/b
  gptpy train --resume -o runs/book                the same command with --resume will do, too
  torchrun --nproc-per-node 8 -m gptpy train data/book --preset gpt2 -o runs/book"""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(
        verbs, "train", run, "train a model on a prepared data set", EXAMPLE, dotted=True
    )
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DIR",
        help="what `gptpy prepare` wrote, or a configuration file (.toml)",
    )
    parser.add_argument(
        "--preset", metavar="P", help="the model's shape; --model.preset below lists them"
    )
    parser.add_argument("-o", "--output", required=True, metavar="RUN", help="run directory")
    parser.add_argument("--config", metavar="F.toml", help="a configuration file")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint; begin where there is none yet",
    )
    parser.add_argument(
        "--section.key",
        dest="_",
        metavar="VALUE",
        help="any setting of those below, as --train.steps 500 --model.n_layer 6",
    )


def run(arguments: argparse.Namespace) -> int:
    """Configure, train, show the result."""
    run_dir = Path(arguments.output)
    if arguments.data and arguments.data.endswith(".toml") and not Path(arguments.data).is_dir():
        if arguments.config:
            raise ConfigError(f"two configuration files: {arguments.data} and {arguments.config}")
        arguments.data, arguments.config = None, arguments.data
    resume = goes_on(run_dir, asked=arguments.resume)
    from gptpy.cli.show import Live
    from gptpy.config.files import read_toml
    from gptpy.config.run import RunConfig, over_run
    from gptpy.train.run import run_training

    mapping = _given(arguments)
    # What ended before its first checkpoint begins as this command says, if it says all
    own = arguments.resume and (resume or not _names_data(mapping))
    if own and (run_dir / "config.toml").is_file():
        mapping = over_run(read_toml(run_dir / "config.toml"), mapping)
    RunConfig.from_mapping(mapping)  # a misspelt key is the likelier cause of missing data
    if not _names_data(mapping):
        missing = f"{run_dir}: there is no run to resume (no config.toml), and " * arguments.resume
        raise ConfigError(
            f"{missing}no data: give DIR (what `gptpy prepare` wrote), or data.train or "
            "data.sources in --config"
        )
    with Live() as live:
        result, evaluation = run_training(mapping, run_dir, live, resume=resume)
    return show_result("train", result, evaluation, run_dir)


def goes_on(run_dir: Path, *, asked: bool) -> bool:
    """Whether the command goes on with a run in `run_dir`, as opposed to beginning one.

    `asked`: `--resume` was given. It begins where there is nothing yet to go on with, so that a
    scheduler can repeat one command. Without it, `ConfigError` where there is a run.
    """
    from gptpy.runs import checkpoint

    begun = bool(checkpoint.steps(run_dir))
    if begun and not asked:
        raise ConfigError(f"{run_dir} holds a run: --resume goes on with it, or take another -o")
    return begun


def show_result(title: str, result: Any, evaluation: Any, run_dir: Path) -> int:
    """Print a run's result, or how to resume it; returns the exit code."""
    from gptpy.cli.show import table

    if result is None:
        return 0  # another process of the run prints
    if result.stopped == "interrupted":
        print(f"stopped at step {result.step} and saved; to go on:")
        print(f"  gptpy train --resume -o {run_dir}")
        return 130
    rows = [
        ("steps", f"{result.step:,}" + (", stopped early" if result.stopped == "early" else "")),
        ("tokens", f"{result.tokens:,}"),
    ]
    if result.tokens_per_second:  # zero: nothing was left to do
        rows.append(("tokens per second", f"{result.tokens_per_second:,.0f}"))
        rows.append(("last training loss", f"{result.loss:.4f}"))
    if result.model_step != result.step:
        rows.append(("weights", f"step {result.model_step}, the best"))
    if evaluation is not None:
        rows.append(("validation loss", f"{evaluation.loss:.4f}"))
        rows.append(("perplexity", f"{evaluation.perplexity:.2f}"))
        if evaluation.bits_per_byte is not None:
            rows.append(("bits per byte", f"{evaluation.bits_per_byte:.4f}"))
        for name, share in (("accuracy", evaluation.accuracy), ("exact", evaluation.exact)):
            if share is not None:
                rows.append((name, f"{share:.2%}"))
    rows.append(("everything", f"{run_dir}/"))
    table(title, rows)
    return 0


def _names_data(mapping: dict[str, Any]) -> bool:
    data = mapping.get("data")
    return isinstance(data, dict) and bool(data.get("train") or data.get("sources"))


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Configuration file, preset, data folder and overrides, in this order."""
    from gptpy.config.files import merged, read_toml
    from gptpy.config.run import with_overrides

    mapping = read_toml(arguments.config) if arguments.config else {}
    if arguments.preset:
        mapping = merged(mapping, {"model": {"preset": arguments.preset}})
    if arguments.data:
        mapping = merged(mapping, {"data": {"train": str(Path(arguments.data).resolve())}})
    mapping = with_overrides(mapping, arguments.overrides)
    if arguments.data:
        # A recipe applied to other data takes that data's tokenizer
        for key in ("sources", "validation_sources", "tokenizer"):
            mapping["data"].pop(key, None)
    return mapping
