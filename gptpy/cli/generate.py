"""`gptpy generate`: continue a text."""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import Any

from gptpy.cli.options import add_step, add_verb
from gptpy.config.errors import ConfigError
from gptpy.config.escapes import unescaped

EXAMPLE = """\
  gptpy generate runs/quickstart -p "ROMEO:" --tokens 200
  gptpy generate runs/quickstart -p "Once" --temperature 0 --stop "\\n\\n" --stream"""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "generate", run, "continue a text", EXAMPLE)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory or a checkpoint folder")
    parser.add_argument(
        "-p", "--prompt", default="", help="the beginning (default: a new document)"
    )
    parser.add_argument(
        "--tokens", type=int, default=200, metavar="N", help="most new tokens (default: 200)"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.8, metavar="T", help="0 is greedy (default: 0.8)"
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="choose among the K likeliest tokens (default: all)"
    )
    parser.add_argument(
        "--top-p", type=float, metavar="P", help="among the fewest with probability P together"
    )
    parser.add_argument(
        "--min-p",
        type=float,
        metavar="P",
        help="among those at least P times as likely as the likeliest",
    )
    parser.add_argument(
        "--stop",
        type=unescaped,
        action="append",
        default=[],
        metavar="TEXT",
        help="end before TEXT, as '\\n\\n' (may be given several times)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same text")
    parser.add_argument(
        "-n", "--samples", type=int, default=1, metavar="N", help="how many texts (default: 1)"
    )
    parser.add_argument("--stream", action="store_true", help="print tokens as they are generated")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="number type of the weights (default: the fastest that the run was trained in)",
    )
    add_step(parser)
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print prompt and continuation, `--samples` times."""
    if arguments.tokens < 1 or arguments.samples < 1:
        raise ConfigError("--tokens and --samples must be at least 1")
    from gptpy.cli.show import say_choice
    from gptpy.inference.precision import cast_for_generation
    from gptpy.inference.text import prepare_prompt, shown_prompt, stream_text
    from gptpy.runs.opening import load

    loaded = load(arguments.run_dir, step=arguments.step, device=arguments.device)
    say_choice(loaded)
    cast_for_generation(loaded, arguments.dtype)
    prompt: str = arguments.prompt
    if loaded.config.model.architecture == "encoder":
        raise ConfigError(f"{arguments.run_dir}: an encoder does not generate")
    if not (prompt or loaded.ends or loaded.beginning):
        raise ConfigError("this tokenizer has no end-of-text token to start from: give -p TEXT")
    data = loaded.config.data
    for number in range(arguments.samples):
        if number:
            print("\n---")
        try:
            ids, inputs = prepare_prompt(
                loaded.model,
                loaded.tokenizer,
                prompt,
                data,
                loaded.end_of_text,
                loaded.beginning,
            )
            pieces = stream_text(
                loaded.model,
                loaded.tokenizer,
                ids,
                arguments.tokens,
                stop=arguments.stop,
                eos_id=loaded.ends,
                temperature=arguments.temperature,
                top_k=arguments.top_k,
                top_p=arguments.top_p,
                min_p=arguments.min_p,
                seed=None if arguments.seed is None else arguments.seed + number,
                inputs=inputs,
            )
            # Before the prompt is shown, so that an error message stands alone
            first = next(pieces, "")
            parts = itertools.chain([shown_prompt(loaded.tokenizer, prompt, data) + first], pieces)
            for part in parts if arguments.stream else ["".join(parts)]:
                sys.stdout.write(part)
                sys.stdout.flush()
        except ValueError as error:  # a sampling option out of range, a source that is too long
            raise ConfigError(str(error)) from None
        print()
    return 0
