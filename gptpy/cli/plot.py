"""`gptpy plot`: pictures of a run, or of what a configuration says before it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_step, add_verb, say_choice
from gptpy.cli.report import checked_run
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy plot runs/quickstart
  gptpy plot runs/quickstart --text "To be, or not to be" --layer 2 --head 1
  gptpy plot --schedule recipes/e-romeo.toml -o schedule.svg
  gptpy plot --positions gpt2 -o positions.svg"""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(
        verbs, "plot", run, "draw a run into its plots/ folder, or a recipe before it runs", EXAMPLE
    )
    parser.add_argument("run_dir", nargs="?", metavar="RUN", help="a run directory")
    parser.add_argument(
        "--text", metavar="TEXT", help="what to show attention on (default: validation text)"
    )
    parser.add_argument(
        "--layer", type=int, metavar="N", help="layer of the large attention map, from 1"
    )
    parser.add_argument(
        "--head", type=int, metavar="N", help="its head, from 1 (default: the sharpest)"
    )
    add_step(parser)
    parser.add_argument(
        "--schedule", metavar="CONFIG", help="draw a configuration's learning rate, without a run"
    )
    parser.add_argument(
        "--positions",
        metavar="CONFIG",
        help="draw a configuration's or a preset's positions, without a run",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="with --schedule, --positions: the picture to write"
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw everything that the run has, or one picture of a configuration."""
    planned = [name for name in ("schedule", "positions") if getattr(arguments, name)]
    if bool(arguments.run_dir) + len(planned) != 1:
        raise ConfigError("give a run directory, --schedule CONFIG or --positions CONFIG")
    if planned:
        of_run = [name for name in ("text", "layer", "head", "step") if getattr(arguments, name)]
        if of_run:
            raise ConfigError(f"--{of_run[0]} is of a run's pictures: leave it out")
        path = Path(arguments.output or f"{planned[0]}.svg")
        print((_schedule if planned[0] == "schedule" else _positions)(arguments, path))
        return 0
    if arguments.output:
        raise ConfigError("-o goes with --schedule and --positions; a run has its plots/ folder")
    run_dir = checked_run(arguments.run_dir)
    from gptpy.report.pictures import draw_run
    from gptpy.runs.opening import load

    loaded = load(run_dir, step=arguments.step, device="cpu", dtype="float32")
    say_choice(loaded)
    layer, head = _from_zero(arguments.layer), _from_zero(arguments.head)
    for path in draw_run(run_dir, loaded, text=arguments.text, layer=layer, head=head):
        print(path)
    return 0


def _from_zero(number: int | None) -> int | None:
    return None if number is None else number - 1


def _schedule(arguments: argparse.Namespace, path: Path) -> Path:
    from gptpy.config.files import read_toml
    from gptpy.config.run import RunConfig
    from gptpy.report.curves import plot_plan
    from gptpy.train.schedules import planned

    config = RunConfig.from_mapping(read_toml(arguments.schedule))
    unit, points = planned(config.train, config.model.block_size)
    optim = config.train.optim
    rates = [("AdamW", optim.lr)]
    if optim.name == "muon":
        rates.insert(0, ("Muon (matrices)", optim.muon_lr))
    others = {"embedding": optim.embedding_lr, "head": optim.head_lr, "scalar": optim.scalar_lr}
    rates += [(f"{name}_lr", rate) for name, rate in others.items() if rate is not None]
    return plot_plan(points, path, unit=unit, rates=rates, title=Path(arguments.schedule).name)


def _positions(arguments: argparse.Namespace, path: Path) -> Path:
    from gptpy.config.files import read_toml
    from gptpy.config.run import RunConfig
    from gptpy.report.positions import plot_positions

    given = arguments.positions
    file = Path(given).is_file() or given.endswith(".toml")
    model = read_toml(given).get("model", {}) if file else {"preset": given}
    config = RunConfig.from_mapping({"model": model}).model
    drawn = plot_positions(config, path)
    if drawn is None:
        known = "learned from data: draw a run" if config.position == "learned" else "none"
        raise ConfigError(f"{given}: its positions are {known}; there is nothing to draw before")
    return drawn
