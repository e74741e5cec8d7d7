"""`gptpy bench`: how fast a run generates here."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from gptpy.cli.generation import add_engine, make_engine, open_run
from gptpy.cli.options import add_verb
from gptpy.config.errors import ConfigError

if TYPE_CHECKING:
    from gptpy.inference.bench import Memory, Speed

EXAMPLE = """\
  gptpy bench runs/quickstart
  gptpy bench runs/quickstart --batch 1,8 --prompt-tokens 512 --tokens 128 --json"""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "bench", run, "measure how fast a model generates", EXAMPLE)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory or a checkpoint folder")
    parser.add_argument(
        "--batch",
        type=_batches,
        default=[1, 4, 16, 64],
        metavar="N,...",
        help="texts at the same time (default: 1,4,16,64)",
    )
    parser.add_argument(
        "--prompt-tokens",
        type=int,
        metavar="N",
        help="length of the random prompts (default: 128, at most half the context)",
    )
    parser.add_argument(
        "--tokens",
        type=int,
        metavar="N",
        help="new tokens of each (default: 64, at most half the context)",
    )
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="the median of N (default: 3)"
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="as the server computes: a text is the same bit for bit, whatever runs beside it",
    )
    add_engine(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def _batches(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers as 1,8,64, got {text!r}")
    return found


def run(arguments: argparse.Namespace) -> int:
    """Measure and show."""
    if arguments.repeats < 1:
        raise ConfigError(f"--repeats: expected at least 1, got {arguments.repeats}")
    loaded = open_run(arguments)
    from gptpy.inference.bench import measure, memory

    context = loaded.config.model.block_size
    most = max(arguments.batch)
    prompt = arguments.prompt_tokens
    prompt = min(128, max(1, context // 2)) if prompt is None else prompt
    tokens = min(64, max(2, context // 2)) if arguments.tokens is None else arguments.tokens
    if prompt < 1:
        raise ConfigError(f"--prompt-tokens: expected at least 1, got {prompt}")
    engine = make_engine(
        arguments,
        loaded,
        exact=arguments.exact,
        max_running=most,
        cache_tokens=most * (prompt + tokens + 32),
    )
    measure(engine, 1, prompt, tokens, repeats=1)  # libraries and compilers prepare themselves
    speeds = [
        measure(engine, batch, prompt, tokens, repeats=arguments.repeats)
        for batch in arguments.batch
    ]
    taken = memory(engine)
    about = {
        "device": str(engine.runner.device),
        "number_type": "int8" if arguments.dtype == "int8" else str(loaded.model.dtype)[6:],
        "prompt_tokens": prompt,
        "new_tokens": tokens,
        "repeats": arguments.repeats,
    }
    if arguments.json:
        rows = [dataclasses.asdict(speed) for speed in speeds]
        print(json.dumps({**about, "speed": rows, "memory": dataclasses.asdict(taken)}))
    else:
        _show(arguments.run_dir, about, speeds, taken)
    return 0


def _show(name: str, about: dict[str, Any], speeds: list[Speed], taken: Memory) -> None:
    from rich.table import Table
    from rich.text import Text

    from gptpy.cli.show import Output

    title = (
        f"{name} on {about['device']} in {about['number_type']}: prompts of "
        f"{about['prompt_tokens']} tokens, {about['new_tokens']} new ones"
    )
    grid = Table(title=Text(title), title_justify="left")
    for heading in ("texts", "prefill, tokens/s", "decode, tokens/s", "first token, ms", "last"):
        grid.add_column(heading, justify="right")
    for speed in speeds:
        grid.add_row(
            str(speed.batch),
            f"{speed.prefill:,.0f}",
            f"{speed.decode:,.0f}",
            f"{1e3 * speed.first_token:,.1f}",
            f"{1e3 * speed.last_first_token:,.1f}",
        )
    console = Output(highlight=False)
    console.print(grid)
    console.print(
        f"memory: weights {taken.weights / 2**20:,.1f} MiB, a token of keys and values "
        f"{taken.cache_per_token / 2**10:,.1f} KiB, peak {taken.peak / 2**20:,.0f} MiB"
    )
