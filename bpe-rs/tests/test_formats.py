"""Encodings in files: reading back what was written, and as Hugging Face's engine reads it."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bpe_rs
import pytest
import tokenizers
from bpe_rs import Encoding

TEXTS = [
    "",
    "Hello  wörld, it's 2024!\n\n\tEnd",
    "日本語と Ελληνικά 🎉 don't DON'T   \r\n ",
    "x" * 300 + " " * 40 + "1234567\u00a0\u2028\u3000",
    "<|endoftext|> in text",
]


def ranks() -> dict[bytes, int]:
    tokens = [bytes([b]) for b in range(256)] + [b"he", b"ll", b"hell", b"hello", b" w", b" wor"]
    return {token: rank for rank, token in enumerate([*tokens, b"aaaa", b"zz zz"])}


def small(pattern: str) -> Encoding:
    special = {"<|endoftext|>": 264, "<|pad|>": 265}
    return Encoding("small", pat_str=pattern, mergeable_ranks=ranks(), special_tokens=special)


@pytest.mark.parametrize("name", ["small.tiktoken", "tokenizer.json"])
@pytest.mark.parametrize(
    "pattern", ["gpt2", "cl100k", "o200k", "llama3", "qwen2", r"[a-zé]{1,3}+|\s$"]
)
def test_round_trip(tmp_path: Path, name: str, pattern: str) -> None:
    encoding = small(pattern)
    written = encoding.save(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    read = Encoding.from_file(tmp_path / name)
    assert read.special_tokens == encoding.special_tokens
    assert read.mergeable_ranks == encoding.mergeable_ranks
    for text in [*TEXTS, "hello world hell aaaa zz zz"]:
        assert read.encode_ordinary(text) == encoding.encode_ordinary(text)
    if not pattern.startswith("["):
        assert read.fingerprint == encoding.fingerprint


@pytest.mark.parametrize(
    "pattern", ["gpt2", "cl100k", "o200k", "llama3", "qwen2", r"[a-zé]{1,3}+|\s$"]
)
def test_as_hugging_face_reads_it(tmp_path: Path, pattern: str) -> None:
    encoding = small(pattern)
    encoding.save(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in [*TEXTS, "hello world hell aaaa zz zz"]:
        expected = encoding.encode(text, allowed_special="all")
        assert theirs.encode(text).ids == expected
        assert theirs.decode(expected, skip_special_tokens=False) == encoding.decode(expected)


@pytest.mark.parametrize("name", ["r50k_base", "cl100k_base", "o200k_base", "p50k_base"])
def test_published(tmp_path: Path, name: str) -> None:
    encoding = bpe_rs.get_encoding(name)
    for file in (f"{name}.tiktoken", "tokenizer.json"):
        encoding.save(tmp_path / file)
        assert Encoding.from_file(tmp_path / file).fingerprint == encoding.fingerprint
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in TEXTS:
        assert theirs.encode(text).ids == encoding.encode(text, allowed_special="all")


def test_threads_that_save_to_one_path(tmp_path: Path) -> None:
    """Every load sees one writer's whole file, and no temporary file is left."""
    path = tmp_path / "t.json"
    encodings = [small("gpt2"), small("cl100k"), bpe_rs.get_encoding("gpt2")]
    known = {encoding.fingerprint for encoding in encodings}
    encodings[0].save(path)
    with ThreadPoolExecutor() as pool:
        saves = [pool.submit(encoding.save, path) for encoding in encodings for _ in range(10)]
        while not all(save.done() for save in saves):
            assert Encoding.from_file(path).fingerprint in known
        assert all(save.result() == [path] for save in saves)
    assert list(tmp_path.iterdir()) == [path]


def test_shared_files(shared_dir: Path) -> None:
    gpt2 = bpe_rs.get_encoding("gpt2")
    vocab = shared_dir / "vocab"
    for name in ("gpt2-tokenizer.json", "gpt2-vocab.json", "r50k_base.tiktoken"):
        read = Encoding.from_file(vocab / name)
        assert read.special_tokens == gpt2.special_tokens
        for text in TEXTS:
            assert read.encode_ordinary(text) == gpt2.encode_ordinary(text)
        assert read.fingerprint == gpt2.fingerprint
    text = (shared_dir / "data" / "tinyshakespeare.txt").read_text()[:100_000]
    theirs = tokenizers.Tokenizer.from_file(str(vocab / "gpt2-tokenizer.json"))
    read = Encoding.from_file(vocab / "gpt2-tokenizer.json")
    assert read.encode_ordinary(text) == theirs.encode(text).ids


def test_vocab_and_merges(tmp_path: Path) -> None:
    encoding = bpe_rs.get_encoding("gpt2")
    assert encoding.save(tmp_path / "vocab.json") == [
        tmp_path / "merges.txt",
        tmp_path / "vocab.json",
    ]
    assert Encoding.from_file(tmp_path).fingerprint == encoding.fingerprint
    theirs = tokenizers.models.BPE.from_file(
        str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")
    )
    assert theirs.token_to_id("Ġhello") == encoding.encode_single_token(" hello")
    with pytest.raises(ValueError, match="pattern"):
        bpe_rs.get_encoding("cl100k_base").save(tmp_path / "vocab.json")


def trained(tmp_path: Path) -> Path:
    """A vocabulary whose ids do not follow its merges: special tokens first, ids shuffled."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat, then the other cat"] * 3, trainer)
    file = json.loads(tokenizer.to_str())
    vocab = file["model"]["vocab"]
    highest = max(vocab.values())
    file["model"]["vocab"] = {
        token: id if id == 0 else highest + 1 - id for token, id in vocab.items()
    }
    path = tmp_path / "shuffled.json"
    path.write_text(json.dumps(file))
    return path


def test_merges_in_another_order_than_ids(tmp_path: Path) -> None:
    path = trained(tmp_path)
    read = Encoding.from_file(path)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    for text in [*TEXTS, "the cat sat on the mat other"]:
        assert read.encode(text, allowed_special="all") == theirs.encode(text).ids
    read.save(tmp_path / "again.json")
    assert Encoding.from_file(tmp_path / "again.json").fingerprint == read.fingerprint
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        read.save(tmp_path / "x.tiktoken")
    copy = pickle.loads(pickle.dumps(read))  # noqa: S301
    assert copy.fingerprint == read.fingerprint and copy.name == read.name


def test_pattern_that_leaves_gaps(tmp_path: Path) -> None:
    """A split that isolates its matches keeps the text between them; ours has to, too."""
    file = json.loads(trained(tmp_path).read_text())
    split = {
        "type": "Split",
        "pattern": {"Regex": "cat|[0-9]"},
        "behavior": "Isolated",
        "invert": False,
    }
    last = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    file["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, last]}
    path = tmp_path / "gaps.json"
    path.write_text(json.dumps(file))
    theirs = tokenizers.Tokenizer.from_file(str(path))
    for text in ["the cat sat on the cat5 mat", "\n\n cat\n", *TEXTS]:
        ours = Encoding.from_file(path).encode(text, allowed_special="all")
        assert ours == theirs.encode(text).ids


BAD: list[tuple[str, str, str]] = [
    ("x.tiktoken", "IQ== 0\n", "pattern"),
    ("x.tiktoken", "IQ==\n", "line 1"),
    ("x.json", "{", "tokenizer.json"),
    ("x.json", "[" * 100_000, "tokenizer.json"),
    ("x.json", '{"model": {"type": "WordPiece", "vocab": {}}}', "WordPiece"),
    ("x.json", '{"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}', "Unigram"),
    ("x.txt", "", "format="),
    ("vocab.json", "[]", "vocab.json"),
]


@pytest.mark.parametrize(("name", "text", "expected"), BAD)
def test_errors(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(ValueError, match=expected):
        Encoding.from_file(tmp_path / name)


def test_missing_files(tmp_path: Path) -> None:
    for name in ("x.json", "x.tiktoken", "vocab.json"):
        with pytest.raises(FileNotFoundError, match=name):
            Encoding.from_file(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        Encoding.from_file(tmp_path)
    with pytest.raises(OSError, match="no-such"):
        small("gpt2").save(tmp_path / "no-such" / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_pattern_that_another_engine_reads_differently(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\\w"):
        small(r"\w+|\s").save(tmp_path / "x.json")


def test_two_special_tokens_of_one_id(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one token an id"):
        bpe_rs.get_encoding("o200k_harmony").save(tmp_path / "x.json")
