"""Texts are told from paths by type; paths and special tokens are str or bytes; errors name the
argument."""

# Values of wrong types are what is tested.
# pyright: reportArgumentType=false, reportCallIssue=false

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpe_rs
import numpy as np
import pytest
from bpe_rs import Encoding, hf

GPT2 = bpe_rs.get_encoding("gpt2")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("hello").write_text("some other text")
    Path("b.txt").write_text("hi there")
    return tmp_path


def test_a_text_is_a_text_whatever_files_there_are() -> None:
    assert bpe_rs.count_words(["hello"]).items() == [(b"hello", 1)]
    assert bpe_rs.count_words(["b.txt and more"])[b" more"] == 1
    assert bpe_rs.count_words([b"b.txt"])[b".txt"] == 0
    assert len(bpe_rs.count_words([b"b.txt"])) == 3


def test_files_are_named_by_their_type() -> None:
    for source in ("b.txt", Path("b.txt"), [Path("b.txt")], Path().glob("b.*")):
        assert bpe_rs.count_words(source).items() == [(b" there", 1), (b"hi", 1)]
    with pytest.raises(FileNotFoundError, match="mising"):
        bpe_rs.count_words([Path("b.txt"), Path("mising.txt")])
    with pytest.raises(FileNotFoundError, match="mising"):
        bpe_rs.count_words("mising.txt")


@pytest.mark.parametrize("names", [["b.txt", "mising.txt"], ["mising.json.gz"], ("a/b.parquet",)])
def test_names_of_files_are_never_trained_on(names: Any) -> None:
    for call in (
        lambda: bpe_rs.count_words(names),
        lambda: bpe_rs.count_words(iter(names)),
        lambda: bpe_rs.train(names, vocab_size=300),
        lambda: bpe_rs.WordTokenizer.train(names[0]),
        lambda: bpe_rs.CharTokenizer.train(names[0]),
    ):
        with pytest.raises(ValueError, match=r"source: .*name of a file.*Path"):
            call()


def test_str_and_bytes() -> None:
    want = [*GPT2.encode("hi there"), GPT2.eot_token]
    for separator in ("<|endoftext|>", b"<|endoftext|>"):
        for path in ("b.txt", b"b.txt", Path("b.txt"), [b"b.txt"]):
            assert np.asarray(GPT2.encode_files(path, separator=separator)).tolist() == want
    assert bpe_rs.train(["a b"], vocab_size=257, special_tokens=[b"<x>"]).special_tokens
    assert GPT2.encode("<|endoftext|>", allowed_special={b"<|endoftext|>"}) == [50256]
    encoding = Encoding(
        "x", pat_str="gpt2", mergeable_ranks={b"a": 0}, special_tokens={b"<x>": 1, "<y>": 2}
    )
    assert encoding.special_tokens == {"<x>": 1, "<y>": 2}
    encoding.save(b"x.tiktoken")
    assert Encoding.from_file(b"x.tiktoken").fingerprint == encoding.fingerprint
    bpe_rs.count_words(["a"]).save(b"a.counts")
    assert len(bpe_rs.WordCounts.load(b"a.counts")) == 1


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("paths", lambda: GPT2.encode_files(5)),
        ("paths", lambda: GPT2.encode_files([5])),
        ("separator", lambda: GPT2.encode_files("b.txt", separator=5)),
        ("special_tokens", lambda: GPT2.encode_files("b.txt", special_tokens=["<x>"])),
        ("out", lambda: GPT2.encode_files("b.txt", out=5)),
        ("source", lambda: bpe_rs.count_words(5)),
        ("source", lambda: bpe_rs.count_words(b"b.txt")),
        ("special_tokens", lambda: bpe_rs.count_words(["a"], special_tokens=[5])),
        ("special_tokens", lambda: bpe_rs.count_words(["a"], special_tokens=b"<x>")),
        ("special_tokens", lambda: bpe_rs.train(["a"], vocab_size=300, special_tokens=[5])),
        ("allowed_special", lambda: GPT2.encode("a", allowed_special=[5])),
        ("disallowed_special", lambda: GPT2.encode("a", disallowed_special=5)),
        (
            "mergeable_ranks",
            lambda: Encoding("x", pat_str="a", mergeable_ranks={"a": 1}, special_tokens={}),
        ),
        (
            "special_tokens",
            lambda: Encoding("x", pat_str="a", mergeable_ranks={b"a": 1}, special_tokens={5: 1}),
        ),
        ("path", lambda: Encoding.from_file(5)),
        ("path", lambda: GPT2.save(None)),
        ("path", lambda: bpe_rs.WordCounts.load(5)),
        ("path", lambda: bpe_rs.WordTokenizer.load(5)),
        ("path", lambda: hf.Tokenizer.from_file(None)),
        ("special_tokens", lambda: Encoding.from_file("b.tiktoken", special_tokens={5: 1})),
    ],
)
def test_errors_name_the_argument(argument: str, call: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=f"(^|expected ){argument}\\b"):
        call()
