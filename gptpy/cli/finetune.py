"""`gptpy finetune`: train a run's model on instructions, whole or with adapters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_verb
from gptpy.cli.train import goes_on, show_result
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy finetune runs/gpt2 instructions.jsonl -o runs/assistant
  gptpy finetune runs/gpt2 instructions.jsonl -o runs/assistant --lora 8 --train.epochs 2
  gptpy generate runs/assistant -p "Name three colours."
  gptpy train --resume -o runs/assistant"""

# Where neither a file nor an option says otherwise.
DEFAULTS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,
    "compile": "off",  # every batch has another length
    "optim": {"beta2": 0.95, "weight_decay": 0.0},
    "schedule": {"kind": "linear", "warmup_steps": 10, "floor": 0.0},
}
# Adapters begin at zero and need a higher rate than trained weights.
FULL_RATE, LORA_RATE = 5e-5, 1e-3


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(
        verbs,
        "finetune",
        run,
        "teach a trained model to follow instructions",
        EXAMPLE,
        dotted=True,
        defaults={
            "train": {**DEFAULTS, "optim": {**DEFAULTS["optim"], "lr": FULL_RATE}},
            "data": {"form": "chat"},
        },
    )
    parser.add_argument("base", metavar="BASE", help="a run directory (`gptpy import` makes one)")
    parser.add_argument(
        "data",
        nargs="*",
        metavar="F.jsonl",
        help="lines with messages, prompt and response, or instruction and output",
    )
    parser.add_argument("-o", "--output", required=True, metavar="RUN", help="new run directory")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint; begin where there is none yet",
    )
    parser.add_argument("--config", metavar="F.toml", help="a configuration file")
    parser.add_argument(
        "--lora",
        type=int,
        metavar="RANK",
        help=f"train adapters of this rank, not all weights (default rate: {LORA_RATE:g})",
    )
    parser.add_argument(
        "--section.key",
        dest="_",
        metavar="VALUE",
        help="any setting of those below, as --train.epochs 2 --lora.alpha 32",
    )


def run(arguments: argparse.Namespace) -> int:
    """Configure from the base run, train, show the result."""
    run_dir = Path(arguments.output)
    resume = goes_on(run_dir, asked=arguments.resume)
    from gptpy.cli.show import Live
    from gptpy.config.files import merged, read_toml
    from gptpy.config.run import over_run
    from gptpy.train.run import run_training

    base, defaults, given = _tables(arguments)
    if resume:
        mapping = over_run(read_toml(run_dir / "config.toml"), merged(base, given))
    else:
        mapping = merged(merged(base, defaults), given)
    with Live() as live:
        result, evaluation = run_training(mapping, run_dir, live, resume=resume)
    return show_result("finetune", result, evaluation, run_dir)


def _tables(
    arguments: argparse.Namespace,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What the base decides, the defaults, what file and options say: later ones come first."""
    from gptpy.config.files import merged, read_toml, to_mapping
    from gptpy.config.run import with_overrides
    from gptpy.runs import checkpoint
    from gptpy.runs.opening import choose
    from gptpy.tokenizer import open_tokenizer
    from gptpy.tokenizer.opening import reserve

    folder = choose(arguments.base).folder
    base = checkpoint.read_config(folder)
    home = checkpoint.run_of(folder)
    if base.model.architecture != "decoder":
        raise ConfigError(f"{arguments.base}: is no decoder: only those follow instructions")
    size = reserve(open_tokenizer(home), "decoder", "chat").vocab_size
    shape = {**to_mapping(base.model), "vocab_size": max(base.model.vocab_size, size)}
    # A base that was itself fine-tuned keeps the template it knows
    data = {"tokenizer": str(home), "template": to_mapping(base.data.template)}
    fixed = {
        "model": shape,
        "data": {"form": "chat", **data},
        "train": {"init": str(folder.resolve())},
    }
    given = read_toml(arguments.config) if arguments.config else {}
    if arguments.data:
        given = merged(
            given, {"data": {"sources": [str(Path(f).absolute()) for f in arguments.data]}}
        )
    if arguments.lora is not None:
        given = merged(given, {"lora": {"rank": arguments.lora}})
    given = with_overrides(given, arguments.overrides)
    if "lora" in given and size > base.model.vocab_size:
        # The token that ends a reply is new, so its embedding must be trained
        given = merged({"lora": {"embeddings": True}}, given)
    if not given.get("data", {}).get("sources"):
        raise ConfigError("no instructions: give F.jsonl, or data.sources in --config")
    train = dict(DEFAULTS)
    if any(key in given.get("train", {}) for key in ("steps", "tokens", "seconds")):
        train.pop("epochs")
    rate = LORA_RATE if "lora" in given else FULL_RATE
    defaults = merged({"train": train}, {"train": {"optim": {"lr": rate}}})
    return fixed, defaults, given
