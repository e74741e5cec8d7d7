"""`gptpy tokenizer train|encode|decode|info|compare`: one function a verb."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_verb
from gptpy.config.errors import ConfigError

TOKENIZER_HELP = "a tokenizer file or folder, a run directory, or a published name (gpt2, ...)"


def add(verbs: Any) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(
        verbs,
        "tokenizer",
        None,
        "train, use and compare tokenizers",
        "  gptpy tokenizer train corpus.txt --vocab-size 8192 -o tok.json",
    )
    inner = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    train = add_verb(
        inner,
        "train",
        run_train,
        "train a byte-level BPE on text files",
        "  gptpy tokenizer train a.txt b.txt --vocab-size 8192 -o tok.json",
    )
    train.add_argument("files", nargs="+", metavar="FILE", help="UTF-8 texts, also .gz, .zst")
    train.add_argument(
        "--vocab-size",
        type=int,
        required=True,
        metavar="N",
        help="most ids, bytes and special tokens included",
    )
    train.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the tokenizer.json to write"
    )
    train.add_argument(
        "--pattern",
        default="gpt2",
        metavar="P",
        help="how text is cut before merging: gpt2, cl100k, o200k, ... or a regular expression "
        "(default: %(default)s)",
    )
    train.add_argument(
        "--special",
        action="append",
        metavar="TOKEN",
        help="a special token (may be given several times; default: <|endoftext|>)",
    )
    train.add_argument(
        "--min-frequency",
        type=int,
        default=0,
        metavar="N",
        help="merge only pairs that occur this often (default: 0)",
    )

    encode = add_verb(
        inner,
        "encode",
        run_encode,
        "print the ids of a text",
        "  gptpy tokenizer encode gpt2 'Hello world'\n"
        "  gptpy tokenizer encode tok.json --file book.txt -o book.ids",
    )
    encode.add_argument("tokenizer", metavar="TOKENIZER", help=TOKENIZER_HELP)
    encode.add_argument(
        "text", nargs="?", metavar="TEXT", help="the text (default: standard input)"
    )
    encode.add_argument("--file", metavar="FILE", help="encode a file instead")
    encode.add_argument("-o", "--output", metavar="FILE", help="write an id file instead")

    decode = add_verb(
        inner,
        "decode",
        run_decode,
        "print the text of ids",
        "  gptpy tokenizer decode gpt2 15496 995",
    )
    decode.add_argument("tokenizer", metavar="TOKENIZER", help=TOKENIZER_HELP)
    decode.add_argument("ids", nargs="*", metavar="ID", help="ids (default: standard input)")
    decode.add_argument("--file", metavar="FILE", help="decode an id file instead")

    info = add_verb(
        inner,
        "info",
        run_info,
        "show what a tokenizer is",
        "  gptpy tokenizer info runs/quickstart",
    )
    info.add_argument("tokenizer", metavar="TOKENIZER", help=TOKENIZER_HELP)
    info.add_argument("--file", metavar="FILE", help="also measure bytes per token on a text")

    compare = add_verb(
        inner,
        "compare",
        run_compare,
        "compare two tokenizers on one text",
        "  gptpy tokenizer compare gpt2 tok.json --text book.txt -o compare.png",
    )
    compare.add_argument("left", metavar="A", help=TOKENIZER_HELP)
    compare.add_argument("right", metavar="B", help="another one")
    compare.add_argument("--text", required=True, metavar="FILE", help="a UTF-8 text file")
    compare.add_argument("-o", "--output", metavar="FILE", help="also draw it, as a PNG")


def run_train(arguments: argparse.Namespace) -> int:
    """Train and save."""
    from gptpy import tokenizer
    from gptpy.data.text import check_text, without_marks
    from gptpy.interop.llama_cpp import note_on

    output = Path(arguments.output)
    if output.is_dir():
        output = output / tokenizer.FILE_NAME
    if output.suffix not in (".json", ".tiktoken"):
        raise ConfigError(f"{output}: expected a name that ends in .json or .tiktoken")
    if not output.parent.is_dir():
        raise ConfigError(f"{output.parent}: no such folder to write {output.name} into")
    files = [Path(file) for file in arguments.files]
    for file in files:
        check_text(file)  # raises before any training where a file is no text
    with without_marks(files, output.parent) as texts:
        trained = tokenizer.train_tokenizer(
            texts,
            arguments.vocab_size,
            pattern=arguments.pattern,
            special_tokens=arguments.special or [tokenizer.END_OF_TEXT],
            min_frequency=arguments.min_frequency,
        )
    tokenizer.save_file(trained, output)
    print(f"{output}: {trained.n_vocab} tokens")
    if trained.n_vocab < arguments.vocab_size:
        print(f"fewer than {arguments.vocab_size}: the text has no more pairs to merge")
    note = note_on(output) if output.suffix == ".json" else None
    if note is not None:
        print(note)
    return 0


def run_encode(arguments: argparse.Namespace) -> int:
    """Print or write ids."""
    from gptpy import tokenizer
    from gptpy.data.ids import IdWriter, dtype_for
    from gptpy.data.text import read_text

    if arguments.file and arguments.text is not None:
        raise ConfigError("give a text or --file, not both")
    opened = tokenizer.open_tokenizer(arguments.tokenizer)
    if arguments.file:
        text = read_text(arguments.file).decode("utf-8")
    else:
        text = _standard_input() if arguments.text is None else arguments.text
    ids = tokenizer.encode_array(opened, text)
    if arguments.output:
        dtype = dtype_for(opened.n_vocab)
        with IdWriter(arguments.output, dtype, opened.fingerprint) as out:
            out.write(ids)
        print(f"{arguments.output}: {len(ids)} ids")
    else:
        print(" ".join(map(str, ids.tolist())))
    return 0


def _standard_input() -> str:
    try:
        return sys.stdin.read().removeprefix("\ufeff")  # as of a file
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is {error.object[error.start]:#04x}"
        raise ConfigError(f"standard input is not {error.encoding.upper()}: {wrong}") from None


def run_decode(arguments: argparse.Namespace) -> int:
    """Print text."""
    from gptpy import tokenizer
    from gptpy.data.ids import open_ids

    opened = tokenizer.open_tokenizer(arguments.tokenizer)
    if arguments.file:
        ids = open_ids(arguments.file, fingerprint=opened.fingerprint).ids.tolist()
    else:
        words = arguments.ids or _standard_input().split()
        for word in words:
            if not (word.isdecimal() and len(word) < 20):
                shown = word if len(word) < 20 else f"{word[:20]}..."
                raise ConfigError(f"ids are whole numbers from 0, got {shown!r}")
        ids = [int(word) for word in words]
    sys.stdout.write(tokenizer.decode_ids(opened, ids))
    if sys.stdout.isatty():
        print()
    return 0


def run_info(arguments: argparse.Namespace) -> int:
    """Show name, vocabulary and fingerprint, and how short a text becomes."""
    from gptpy import tokenizer
    from gptpy.cli.show import table
    from gptpy.data.text import read_text

    opened = tokenizer.open_tokenizer(arguments.tokenizer)
    rows = [
        ("name", str(opened.name)),
        ("vocabulary", f"{opened.n_vocab} tokens"),
        ("special tokens", ", ".join(sorted(opened.special_tokens_set)) or "none"),
        ("fingerprint", opened.fingerprint),
    ]
    if arguments.file:
        data = read_text(arguments.file)
        ids = tokenizer.encode_array(opened, data.decode("utf-8"))
        # A word-level tokenizer gives no token for white space alone
        rate = f"{len(data) / len(ids):.3f}" if len(ids) else "no token"
        rows.append(("bytes per token", f"{rate} on {arguments.file}"))
    table(str(arguments.tokenizer), rows)
    return 0


def run_compare(arguments: argparse.Namespace) -> int:
    """Show both, and what they share; draw them on request."""
    from gptpy import tokenizer
    from gptpy.cli.show import table
    from gptpy.data.text import read_text
    from gptpy.report.comparison import plot_comparison
    from gptpy.tokenizer.comparison import Comparable, compare_tokenizers

    text = read_text(arguments.text).decode("utf-8")
    if not text:
        raise ConfigError(f"{arguments.text}: the text is empty, nothing to compare on")
    names = (arguments.left, arguments.right)
    sides: list[Comparable] = []
    for name in names:
        opened: Any = tokenizer.open_tokenizer(name)
        if not hasattr(opened, "token_byte_values"):
            raise ConfigError(f"{name}: only byte-level tokenizers can be compared")
        sides.append(opened)
    found = compare_tokenizers(sides[0], sides[1], text)
    rows = []
    for name, side in zip(names, (found.left, found.right), strict=True):
        rows.append((name, f"{side.n_vocab:,} tokens in the vocabulary, {side.used:,} used"))
        rows.append(("", f"{side.tokens:,} ids, {side.bytes_per_token:.3f} bytes per token"))
    rows.append(("shared", f"{found.shared:,} tokens, {found.overlap:.1%} of the smaller"))
    table(f"{arguments.text}: {found.bytes:,} bytes", rows)
    if arguments.output:
        plot_comparison(found, Path(arguments.output))
        print(arguments.output)
    return 0
