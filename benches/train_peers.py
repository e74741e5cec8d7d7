"""The trainers that `train.py` measures: path, pattern, vocabulary size -> tokens by id."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

SEPARATOR = "<|endoftext|>"
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)

# As in tiktoken's o200k_base: a word is upper-case letters, then lower-case ones, at least one.
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = "|".join(
    [
        rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+{CONTRACTION}",
        rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*{CONTRACTION}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)


def ours(
    tie_break: Literal["huggingface", "pair"], threads: int | None
) -> Callable[[Path, str, int], Iterable[bytes]]:
    def run(path: Path, pattern: str, vocab: int) -> Iterable[bytes]:
        encoding = bpe_rs.train(
            path,
            vocab_size=vocab + 1,
            pattern=pattern,
            special_tokens=[SEPARATOR],
            tie_break=tie_break,
            num_threads=threads,
        )
        return (encoding.decode_single_token_bytes(token) for token in range(vocab))

    import bpe_rs

    return run


def gigatoken() -> Callable[[Path, str, int], Iterable[bytes]]:
    import gigatoken  # pyright: ignore[reportMissingImports]

    def run(path: Path, pattern: str, vocab: int) -> Iterable[bytes]:
        assert pattern == "gpt2", "gigatoken trains with GPT-2's pattern only"
        source = gigatoken.TextFileSource([path], separator=SEPARATOR)
        tokens, _ = gigatoken.train_bpe(source, vocab, [])
        return (tokens[token] for token in sorted(tokens))

    return run


def rustbpe() -> Callable[[Path, str, int], Iterable[bytes]]:
    import rustbpe  # pyright: ignore[reportMissingImports]

    def run(path: Path, pattern: str, vocab: int) -> Iterable[bytes]:
        tokenizer = rustbpe.Tokenizer()  # pyright: ignore[reportAttributeAccessIssue]
        documents = path.read_text().split(SEPARATOR)
        tokenizer.train_from_iterator(iter(documents), vocab, pattern=regex_of(pattern))
        return (token for token, _ in tokenizer.get_mergeable_ranks())

    return run


def huggingface() -> Callable[[Path, str, int], Iterable[bytes]]:
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    def run(path: Path, pattern: str, vocab: int) -> Iterable[bytes]:
        tokenizer = tokenizers.Tokenizer(models.BPE())
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        # Oniguruma reads {1,3}+ as a repeated group, not as possessive. The pattern never
        # backtracks into a number, so the plain {1,3} cuts as the possessive form does elsewhere.
        regex = tokenizers.Regex(regex_of(pattern).replace("{1,3}+", "{1,3}"))
        split = pre_tokenizers.Split(regex, behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        if pattern == "gpt2":
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
        trainer = trainers.BpeTrainer(
            vocab_size=vocab, initial_alphabet=alphabet, show_progress=False
        )
        documents = path.read_text().split(SEPARATOR)
        tokenizer.train_from_iterator(documents, trainer)
        order = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        byte_of = {char: byte for byte, char in byte_characters().items()}
        return (bytes(byte_of[char] for char in token) for token, _ in order)

    return run


def bpeasy() -> Callable[[Path, str, int], Iterable[bytes]]:
    import bpeasy  # pyright: ignore[reportMissingImports]

    def run(path: Path, pattern: str, vocab: int) -> Iterable[bytes]:
        documents = path.read_text().split(SEPARATOR)
        ranks = bpeasy.train_bpe(iter(documents), regex_of(pattern), 1 << 16, vocab)
        return sorted(ranks, key=lambda token: ranks[token])

    return run


def gigabpe() -> Callable[[Path, str, int], Iterable[bytes]]:
    import tempfile

    import gigabpe  # pyright: ignore[reportMissingImports]

    def run(path: Path, pattern: str, vocab: int) -> Iterable[bytes]:
        assert pattern == "gpt2", "gigabpe trains with GPT-2's pattern only"
        with tempfile.TemporaryDirectory() as folder:
            # It knows no separator: one file a document.
            files = []
            for i, document in enumerate(path.read_bytes().split(SEPARATOR.encode())):
                files.append(str(Path(folder) / f"{i}.txt"))
                Path(files[-1]).write_bytes(document)
            train = gigabpe.train_bpe  # pyright: ignore[reportAttributeAccessIssue]
            _, merges = train(files, vocab, special_tokens=[], pretokenizer="bytelevel")
        byte_of = {char: byte for byte, char in byte_characters().items()}
        # Its alphabet are the bytes that occur; the merges are those of all 256.
        alphabet = [bytes([byte_of[char]]) for char in sorted(byte_of)]
        tokens = (bytes(byte_of[char] for char in left + right) for left, right in merges)
        return [*alphabet, *tokens][:vocab]

    return run


TRAINERS: dict[str, Callable[[], Callable[[Path, str, int], Iterable[bytes]]]] = {
    "bpe_rs": lambda: ours("huggingface", None),
    "bpe_rs 1 thread": lambda: ours("huggingface", 1),
    "bpe_rs pair": lambda: ours("pair", None),
    "gigatoken": gigatoken,
    "rustbpe": rustbpe,
    "huggingface": huggingface,
    "bpeasy": bpeasy,
    "gigabpe": gigabpe,
}
# Peer -> our trainer whose tokens it must equal. bpeasy promises no tie-break, so it has none, and
# gigabpe cuts at every line's end, where GPT-2's pattern keeps white space together.
MUST_EQUAL = {
    "gigatoken": "bpe_rs",
    "huggingface": "bpe_rs",
    "rustbpe": "bpe_rs pair",
}


def regex_of(pattern: str) -> str:
    return {"gpt2": GPT2, "cl100k": CL100K, "o200k": O200K}[pattern]


def byte_characters() -> dict[int, str]:
    """GPT-2's way to write bytes as characters."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    pairs = [(byte, chr(byte)) for byte in printable]
    return dict(pairs + [(byte, chr(256 + i)) for i, byte in enumerate(others)])
