"""What `gptpy generate` and `gptpy chat` share: the options of sampling and of the engine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptpy.cli.options import add_step, say_choice
from gptpy.config.errors import ConfigError
from gptpy.config.escapes import unescaped

if TYPE_CHECKING:
    from gptpy.inference.engine import Engine
    from gptpy.inference.sampling import Sampling
    from gptpy.runs.opening import Loaded

NUMBERS = {
    "top_p": "choose among the fewest tokens with probability P together",
    "min_p": "among those at least P times as likely as the likeliest",
    "typical_p": "among those with surprise nearest to the expected, of probability P together",
}
PENALTIES = {
    "presence_penalty": "subtract P from the logits of tokens that the new text has",
    "frequency_penalty": "subtract P for each time that the new text has the token",
}


def add_sampling(parser: argparse.ArgumentParser, *, tokens: int) -> None:
    """Add the options that say how tokens are chosen."""
    group = parser.add_argument_group("choice of tokens")
    group.add_argument(
        "--tokens",
        type=int,
        default=tokens,
        metavar="N",
        help=f"most new tokens (default: {tokens})",
    )
    group.add_argument(
        "--min-tokens", type=int, default=0, metavar="N", help="fewest new tokens (default: 0)"
    )
    group.add_argument(
        "--temperature", type=float, default=0.8, metavar="T", help="0 is greedy (default: 0.8)"
    )
    group.add_argument(
        "--top-k", type=int, metavar="K", help="choose among the K likeliest tokens (default: all)"
    )
    for name, meaning in NUMBERS.items():
        group.add_argument(_option(name), type=float, metavar="P", help=meaning)
    group.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="P",
        help="divide positive logits of tokens in prompt and text by P, multiply negative ones "
        "(default: 1, none)",
    )
    group.add_argument(
        "--repetition-window",
        type=int,
        metavar="N",
        help="so many last tokens count for it (default: all)",
    )
    for name, meaning in PENALTIES.items():
        group.add_argument(_option(name), type=float, default=0.0, metavar="P", help=meaning)
    group.add_argument(
        "--logit-bias",
        type=_biases,
        action="append",
        default=[],
        metavar="ID=BIAS,...",
        help="add BIAS to the logit of a token; -inf bans it",
    )
    group.add_argument(
        "--ban", type=_ids, action="append", default=[], metavar="ID,...", help="never these tokens"
    )
    group.add_argument(
        "--allow", type=_ids, action="append", metavar="ID,...", help="only these tokens"
    )
    group.add_argument(
        "--stop",
        type=unescaped,
        action="append",
        default=[],
        metavar="TEXT",
        help="end before TEXT, as '\\n\\n' (may be given several times)",
    )
    group.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same text")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected ids as 5,17, got {text!r}") from None


def _biases(text: str) -> dict[int, float]:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {int(token): float(bias) for token, bias in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected ID=BIAS as 5=-2.5, got {text!r}") from None


def sampling_of(arguments: argparse.Namespace) -> Sampling:
    """The settings; `ConfigError` for values out of range."""
    from gptpy.inference.sampling import Sampling

    allowed = None if arguments.allow is None else frozenset(_joined(arguments.allow))
    bias = {token: value for biases in arguments.logit_bias for token, value in biases.items()}
    return Sampling(
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        typical_p=arguments.typical_p,
        top_p=arguments.top_p,
        min_p=arguments.min_p,
        repetition_penalty=arguments.repetition_penalty,
        repetition_window=arguments.repetition_window,
        presence_penalty=arguments.presence_penalty,
        frequency_penalty=arguments.frequency_penalty,
        logit_bias=bias,
        banned=frozenset(_joined(arguments.ban)),
        allowed=allowed,
    )


def _joined(lists: Iterable[list[int]]) -> list[int]:
    return [number for numbers in lists for number in numbers]


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what computes."""
    group = parser.add_argument_group("computation")
    group.add_argument(
        "--speculate",
        metavar="RUN|lookup",
        help="guess tokens and verify several at once, which changes the speed and not the text: "
        "from a smaller run with the same tokenizer, or from what the text said before",
    )
    group.add_argument(
        "--guesses", type=int, metavar="N", help="guess so many at once (default: 4, lookup: 8)"
    )
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
        default="auto",
        help="number type of the weights (default: the fastest that the run was trained in)",
    )
    add_step(group)
    group.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )


def open_run(arguments: argparse.Namespace) -> Loaded:
    """The run, its weights in the number type that was asked for, and a word on the checkpoint."""
    # Before torch makes its first tensor: weights on large pages are read quicker
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    from gptpy.inference.precision import cast_for_generation, limit_threads
    from gptpy.runs.opening import load

    loaded = load(arguments.run_dir, step=arguments.step, device=arguments.device)
    say_choice(loaded)
    if arguments.dtype != "int8":
        cast_for_generation(loaded, arguments.dtype)
    limit_threads(loaded.model)
    return loaded


def make_engine(arguments: argparse.Namespace, loaded: Loaded, **settings: Any) -> Engine:
    """The engine for a run that `open_run` gave; `settings`: further ones of `Engine`."""
    from gptpy.inference.engine import Engine

    number_type = "int8" if arguments.dtype == "int8" else None
    return Engine(
        loaded.model,
        loaded.tokenizer,
        number_type=number_type,
        speculation=_speculation(arguments, loaded),
        **settings,
    )


def _speculation(arguments: argparse.Namespace, loaded: Loaded) -> Any:
    source, guesses = arguments.speculate, arguments.guesses
    if source is None:
        if guesses is not None:
            raise ConfigError("--guesses belongs to --speculate RUN or --speculate lookup")
        return None
    from gptpy.inference.speculative import DraftModel, PromptLookup

    more = {} if guesses is None else {"tokens": guesses}
    if source == "lookup":
        return PromptLookup(**more)
    from gptpy.runs.opening import load

    draft = load(source, device=arguments.device)
    if draft.tokenizer.fingerprint != loaded.tokenizer.fingerprint:
        raise ConfigError(
            f"--speculate {source}: its tokenizer is another than that of {arguments.run_dir}; "
            "guesses need the same ids"
        )
    return DraftModel(draft.model, **more)


def text_or_file(given: str, option: str) -> str:
    """An option's value, or what the file says that it names with @."""
    if not given.startswith("@"):
        return given
    from gptpy.data.text import read_text

    path = Path(given[1:])
    if not path.is_file():
        raise ConfigError(f"{option}: {path}: no such file")
    return read_text(path).decode("utf-8")
