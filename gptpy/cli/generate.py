"""`gptpy generate`: continue texts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gptpy.cli.generation import (
    add_engine,
    add_sampling,
    make_engine,
    open_run,
    sampling_of,
    text_or_file,
)
from gptpy.cli.options import add_verb
from gptpy.cli.prompts import Given, add_prompts, make_prompt, read_prompts
from gptpy.cli.texts import JsonLines, Texts
from gptpy.config.errors import ConfigError

if TYPE_CHECKING:
    from gptpy.inference.conversation import Prompt, Prompts
    from gptpy.inference.engine import Engine
    from gptpy.inference.request import Handle, Request
    from gptpy.runs.opening import Loaded

EXAMPLE = """\
  gptpy generate runs/quickstart -p "ROMEO:" --tokens 200
  gptpy generate runs/quickstart -p "Once" --temperature 0 --stop "\\n\\n" --stream
  gptpy generate runs/quickstart --prompts many.jsonl --json > texts.jsonl"""
FAILED = 1
CONSTRAINTS = ("json_schema", "regex", "grammar")


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "generate", run, "continue a text", EXAMPLE)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory or a checkpoint folder")
    add_prompts(parser)
    add_sampling(parser, tokens=200)
    group = parser.add_argument_group("texts")
    group.add_argument(
        "-n", "--samples", type=int, default=1, metavar="N", help="texts a prompt (default: 1)"
    )
    group.add_argument(
        "--beams",
        type=int,
        default=1,
        metavar="N",
        help="beam search with N hypotheses instead of sampling",
    )
    group.add_argument(
        "--length-penalty",
        type=float,
        default=1.0,
        metavar="P",
        help="beams are ranked by log-probability / length^P (default: 1)",
    )
    only = group.add_mutually_exclusive_group()
    only.add_argument(
        "--json-schema", metavar="JSON|@F", help="the text is JSON that the schema describes"
    )
    only.add_argument("--regex", metavar="R|@F", help="the whole text matches R (Rust's syntax)")
    only.add_argument("--grammar", metavar="G|@F", help="it follows a grammar in Lark's syntax")
    group.add_argument(
        "--context",
        choices=("crop", "error"),
        default="crop",
        help="a text that outgrows the model's context goes on with its last tokens, or is refused "
        "(default: crop)",
    )
    group.add_argument("--stream", action="store_true", help="print texts as they are generated")
    group.add_argument(
        "--json",
        action="store_true",
        help="a line of JSON for each text: ids, log-probabilities, why it ended, speed",
    )
    group.add_argument(
        "--logprobs",
        type=int,
        metavar="K",
        help="with --json: also the K likeliest tokens at each place",
    )
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the texts of all prompts, in their order."""
    if arguments.tokens < 1 or arguments.samples < 1:
        raise ConfigError("--tokens and --samples must be at least 1")
    if arguments.json and arguments.stream:
        raise ConfigError("--stream and --json do not go together: leave one out")
    if arguments.logprobs is not None and not arguments.json:
        raise ConfigError("--logprobs belongs to --json")
    given = read_prompts(arguments)
    sampling_of(arguments)  # a mistake in an option is told before the model is read
    loaded = open_run(arguments)
    from gptpy.inference.conversation import Prompts

    prompts = Prompts(loaded)
    requests = _requests(arguments, loaded, prompts, given)
    alone = len(requests) == 1
    engine = make_engine(
        arguments,
        loaded,
        exact=not alone,
        max_running=max(64, arguments.beams),
        cache_tokens=_cache_tokens(requests, loaded),
    )
    handles = [_submit(engine, request, one) for request, one in zip(requests, given, strict=True)]
    printer = JsonLines() if arguments.json else Texts(prompts, arguments)
    texts = [
        (one, handle, output)
        for one, handle in zip(given, handles, strict=True)
        for output in handle.outputs
    ]
    done = 0
    while done < len(texts):
        if engine.busy:
            engine.step()
        while done < len(texts):
            one, handle, output = texts[done]
            if output.finish_reason is None or (arguments.json and not handle.done):
                if arguments.stream and output.ids:
                    printer.show(one, output)
                break
            printer.end(one, handle, output)
            done += 1
    return FAILED if any(output.error for _, _, output in texts) else 0


def _submit(engine: Engine, request: Request, given: Given) -> Handle:
    try:
        return engine.submit(request)
    except ConfigError as error:
        raise ConfigError(f"{given.where}: {error}" if given.where else str(error)) from None


def _requests(
    arguments: argparse.Namespace, loaded: Loaded, prompts: Prompts, given: list[Given]
) -> list[Request]:
    from gptpy.inference.request import Request

    made: list[Prompt] = [
        make_prompt(one, prompts, chat=arguments.chat, raw=arguments.raw) for one in given
    ]
    constraint = _constraint(arguments, loaded)
    logprobs = arguments.logprobs
    if arguments.json and arguments.beams == 1:
        logprobs = logprobs or 0
    return [
        Request(
            **prompt.arguments,
            max_tokens=arguments.tokens,
            min_tokens=arguments.min_tokens,
            sampling=sampling_of(arguments),
            seed=arguments.seed,
            n=arguments.samples,
            stop=arguments.stop,
            logprobs=logprobs,
            beams=arguments.beams,
            length_penalty=arguments.length_penalty,
            constraint=constraint,
            context=arguments.context,
        )
        for prompt in made
    ]


def _constraint(arguments: argparse.Namespace, loaded: Loaded) -> Any:
    for kind in CONSTRAINTS:
        value = getattr(arguments, kind)
        if value is None:
            continue
        from gptpy.inference.constraints import Constraints

        end = loaded.ends[0] if loaded.ends else None
        compiler = Constraints(loaded.tokenizer, loaded.config.model.vocab_size, end)
        return compiler.compile(kind, text_or_file(value, "--" + kind.replace("_", "-")))
    return None


def _cache_tokens(requests: list[Request], loaded: Loaded) -> int | None:
    """Room for few short texts; None, the engine's own choice, for more."""
    context, block = loaded.config.model.block_size, 16
    needed = 0
    for request in requests:
        length = min(context, len(request.prompt) + request.max_tokens)
        needed += request.n * request.beams * (length + 2 * block)
    return needed if needed <= 4 * context else None
