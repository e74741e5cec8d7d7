"""`gptpy prepare`: texts to id files."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_verb
from gptpy.cli.tokenizer import TOKENIZER_HELP
from gptpy.config.errors import ConfigError
from gptpy.config.escapes import unescaped
from gptpy.runs.progress import Silent, counted

EXAMPLE = """\
  gptpy prepare book.txt --tokenizer gpt2 -o data/book
  gptpy prepare corpus/ more.jsonl.gz --tokenizer tok.json -o data/mix --separator '<|endoftext|>'
  torchrun --nproc-per-node 8 -m gptpy prepare corpus/ --tokenizer gpt2 -o data/corpus"""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "prepare", run, "turn texts into id files for training", EXAMPLE)
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a text (.txt, .md), lines of JSON (.jsonl) or Parquet, each also packed (.gz, .zst); "
        "an array (.json); a folder of such files; hf:NAME[@CONFIG][:SPLIT] of Hugging Face",
    )
    parser.add_argument("--tokenizer", required=True, metavar="T", help=TOKENIZER_HELP)
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--field",
        default="text",
        metavar="KEY",
        help="key of the text in jsonl and parquet (default: text)",
    )
    parser.add_argument(
        "--separator",
        type=unescaped,
        metavar="TEXT",
        help="what separates documents in text files, as '\\n\\n' (default: none, a file is one)",
    )
    parser.add_argument(
        "--validation",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of documents held back to validate; of a single one, its end (default: 0.1)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another choice of those (default: 0)"
    )
    parser.add_argument(
        "--slice-mb",
        type=float,
        default=256,
        metavar="MB",
        help="text that is encoded at a time, into one file of ids (default: 256)",
    )
    parser.add_argument(
        "--ray",
        action="store_true",
        help="slices as tasks on the Ray cluster of RAY_ADDRESS, or on this machine's cores",
    )


def run(arguments: argparse.Namespace) -> int:
    """Encode this process's share; the process that finishes last writes the manifest."""
    from gptpy.data.prepare import PrepareOptions, prepare
    from gptpy.tokenizer import open_tokenizer

    if not 0 < arguments.slice_mb < math.inf:
        raise ConfigError(f"--slice-mb must be greater than 0, got {arguments.slice_mb:g}")
    options = PrepareOptions(
        field=arguments.field,
        separator=arguments.separator,
        validation=arguments.validation,
        seed=arguments.seed,
        slice_bytes=max(1, int(arguments.slice_mb * 1e6)),
    )
    folder = Path(arguments.output)
    if arguments.ray:
        from gptpy.data.on_ray import prepare_on_ray

        prepare_on_ray(
            arguments.sources,
            arguments.tokenizer,
            folder,
            options,
            reporter=_Printed(),
        )
        _print_counts(folder)
        return 0
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    prefix = f"[{rank}] " if world > 1 else ""
    complete = prepare(
        arguments.sources,
        open_tokenizer(arguments.tokenizer),
        folder,
        options,
        rank=rank,
        world_size=world,
        reporter=_Printed(prefix),
    )
    if not complete:
        print(f"{prefix}done with its share; other processes are still at work")
        return 0
    _print_counts(folder, prefix)
    return 0


class _Printed(Silent):
    """Prints messages at once, also into a pipe."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def on_message(self, text: str) -> None:
        print(self.prefix + text, flush=True)


def _print_counts(folder: Path, prefix: str = "") -> None:
    from gptpy.data.prepared import open_prepared
    from gptpy.interop.llama_cpp import note_on
    from gptpy.tokenizer import FILE_NAME

    data = open_prepared(folder)
    note = note_on(folder / FILE_NAME)
    if note is not None:
        print(prefix + note)
    train, validation = data.train, data.validation
    print(
        f"{prefix}{folder}: {counted(train.n_ids, 'id')} of {counted(train.documents, 'document')} "
        f"to train on, {validation.n_ids:,} of {validation.documents:,} to validate"
    )
