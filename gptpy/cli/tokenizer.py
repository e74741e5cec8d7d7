"""`gptpy tokenizer train|prune|encode|decode|info|compare`: one function a verb."""

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
        "  gptpy tokenizer train a.txt b.txt --vocab-size 8192 -o tok.json\n"
        "  gptpy tokenizer train more.txt --base tok.json --vocab-size 10000 -o longer.json\n"
        "  gptpy tokenizer train a.txt --base tok.json --across-words --vocab-size 10000 -o s.json",
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
        metavar="P",
        help="how text is cut before merging: gpt2, cl100k, o200k, ... or a regular expression "
        "(default: gpt2, or that of --base)",
    )
    train.add_argument(
        "--special",
        action="append",
        metavar="TOKEN",
        help="a special token (may be given several times; default: <|endoftext|>, or none with "
        "--base)",
    )
    train.add_argument(
        "--base",
        metavar="TOKENIZER",
        help="extend this one: its tokens keep their ids, new ones follow",
    )
    train.add_argument(
        "--across-words",
        action="store_true",
        help="with --base: new tokens may hold up to four words (SuperBPE)",
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
        "compare tokenizers on your texts: length, coverage, speed",
        "  gptpy tokenizer compare gpt2 o200k_base tok.json --text book.txt --text code.py\n"
        "  gptpy tokenizer compare gpt2 tok.json --text book.txt -o compare.svg",
    )
    compare.add_argument("tokenizers", nargs="+", metavar="TOKENIZER", help=TOKENIZER_HELP)
    compare.add_argument(
        "--text",
        action="append",
        required=True,
        metavar="FILE",
        help="a UTF-8 text, one for each language or kind of text (may be given several times)",
    )
    compare.add_argument("-o", "--output", metavar="FILE", help="also draw it (.svg, .png)")

    prune = add_verb(
        inner,
        "prune",
        run_prune,
        "remove the tokens that texts use least; all others keep their ids",
        "  gptpy tokenizer prune gpt2 book.txt --remove 20000 -o small.json",
    )
    prune.add_argument("tokenizer", metavar="TOKENIZER", help=TOKENIZER_HELP)
    prune.add_argument("files", nargs="+", metavar="FILE", help="UTF-8 texts, also .gz, .zst")
    prune.add_argument(
        "--remove", type=int, required=True, metavar="N", help="how many tokens to remove"
    )
    prune.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the tokenizer.json to write"
    )


def run_train(arguments: argparse.Namespace) -> int:
    """Train and save."""
    from gptpy import tokenizer
    from gptpy.data.text import without_marks
    from gptpy.interop.llama_cpp import note_on

    if arguments.across_words and not arguments.base:
        raise ConfigError("--across-words extends a tokenizer that knows words: give it by --base")
    base = _byte_level(arguments.base) if arguments.base else None
    output, files = _output_file(arguments.output), _text_files(arguments.files)
    specials = arguments.special or ([] if base else [tokenizer.END_OF_TEXT])
    options = {"pattern": arguments.pattern} if arguments.pattern else {}
    with without_marks(files, output.parent) as texts:
        trained = tokenizer.train_tokenizer(
            texts,
            arguments.vocab_size,
            special_tokens=specials,
            min_frequency=arguments.min_frequency,
            base=base,
            across_words=arguments.across_words,
            **options,
        )
    tokenizer.save_file(trained, output)
    print(f"{output}: {trained.n_vocab} tokens")
    if trained.n_vocab < arguments.vocab_size:
        print(f"fewer than {arguments.vocab_size}: the text has no more pairs to merge")
    note = note_on(output) if output.suffix == ".json" else None
    if note is not None:
        print(note)
    return 0


def run_prune(arguments: argparse.Namespace) -> int:
    """Remove tokens and save."""
    from gptpy import tokenizer
    from gptpy.data.text import without_marks

    whole = _byte_level(arguments.tokenizer)
    output, files = _output_file(arguments.output), _text_files(arguments.files)
    with without_marks(files, output.parent) as texts:
        smaller = tokenizer.prune_tokenizer(whole, texts, arguments.remove)
    tokenizer.save_file(smaller, output)
    print(f"{output}: {arguments.remove} tokens removed, the others keep their ids")
    return 0


def _output_file(name: str) -> Path:
    """Where a tokenizer is written; ConfigError where that cannot be."""
    from gptpy import tokenizer

    output = Path(name)
    if output.is_dir():
        output = output / tokenizer.FILE_NAME
    if output.suffix not in (".json", ".tiktoken"):
        raise ConfigError(f"{output}: expected a name that ends in .json or .tiktoken")
    if not output.parent.is_dir():
        raise ConfigError(f"{output.parent}: no such folder to write {output.name} into")
    return output


def _text_files(names: list[str]) -> list[Path]:
    """The paths; raises before any work where a file is no text."""
    from gptpy.data.text import check_text

    files = [Path(name) for name in names]
    for file in files:
        check_text(file)
    return files


def _byte_level(name: str) -> Any:
    """The byte-level tokenizer called `name`; ConfigError for another kind."""
    from gptpy import tokenizer

    opened: Any = tokenizer.open_tokenizer(name)
    if not hasattr(opened, "token_byte_values"):
        raise ConfigError(f"{name}: expected a byte-level tokenizer, got one of another kind")
    return opened


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
    from gptpy.tokenizer.comparison import vocabulary_size

    opened = tokenizer.open_tokenizer(arguments.tokenizer)
    size = vocabulary_size(opened)
    gaps = "" if size == opened.n_vocab else f", ids up to {opened.n_vocab - 1:,}"
    rows = [
        ("name", str(opened.name)),
        ("vocabulary", f"{size:,} tokens" + gaps),
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
    """Show every tokenizer on every text, and what they share; draw it on request."""
    from gptpy import tokenizer
    from gptpy.cli.show import table
    from gptpy.data.text import read_text
    from gptpy.report.comparison import plot_comparison
    from gptpy.tokenizer.comparison import compare_tokenizers

    texts = {}
    for file in arguments.text:
        texts[file] = read_text(file).decode("utf-8")
        if not texts[file]:
            raise ConfigError(f"{file}: the text is empty, nothing to compare on")
    opened = {name: tokenizer.open_tokenizer(name) for name in arguments.tokenizers}
    found = compare_tokenizers(opened, texts)
    for file, size in found.sizes.items():
        rows = []
        for name, ids in found.vocabularies.items():
            reading = found.readings[name, file]
            rows += [
                (name, f"{ids:,} tokens in the vocabulary, {reading.used:,} used"),
                (
                    "",
                    f"{reading.tokens:,} ids, {reading.bytes_per_token:.3f} bytes per token, "
                    f"{reading.fertility:.2f} tokens a word",
                ),
                (
                    "",
                    f"{reading.whole_words:.1%} of the words are one token, "
                    f"{reading.megabytes_per_second:.1f} MB/s"
                    + ("" if reading.lossless else ", DECODING CHANGES THE TEXT"),
                ),
            ]
        table(f"{file}: {size:,} bytes", rows)
    shared = []
    for (a, b), count in found.shared.items():
        smaller = min(found.vocabularies[a], found.vocabularies[b])
        shared.append((f"{a}, {b}", f"{count:,} tokens, {count / smaller:.1%} of the smaller"))
    if shared:
        table("shared", shared)
    if arguments.output:
        print(plot_comparison(found, Path(arguments.output)))
    return 0
