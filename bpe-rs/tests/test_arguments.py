"""Texts are told from paths by type; paths and special tokens are str or bytes; errors name the
argument."""

# Values of wrong types are what is tested.
# pyright: reportArgumentType=false, reportCallIssue=false

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpe_rs
import hf_cases
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


LONE = "a\ud800"
TOKENIZER = hf.Tokenizer.from_str(hf_cases.family("gpt2"))
WORDS = bpe_rs.WordTokenizer.train("a b", num_merges=2)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("source", lambda: bpe_rs.count_words([LONE])),
        ("pattern", lambda: bpe_rs.count_words(["a"], pattern=LONE)),
        ("special_tokens", lambda: bpe_rs.count_words(["a"], special_tokens=[LONE])),
        ("text_column", lambda: bpe_rs.count_words(["a"], text_column=LONE)),
        ("counts", lambda: bpe_rs.WordCounts.from_mapping({LONE: 1})),
        ("word", lambda: bpe_rs.count_words(["a"])[LONE]),
        ("path", lambda: bpe_rs.count_words(["a"]).save(LONE)),
        ("source", lambda: bpe_rs.train(["b", LONE], vocab_size=300)),
        ("pattern", lambda: bpe_rs.train(["a"], vocab_size=300, pattern=LONE)),
        ("name", lambda: bpe_rs.train(["a"], vocab_size=300, name=LONE)),
        ("tie_break", lambda: bpe_rs.train(["a"], vocab_size=300, tie_break=LONE)),
        ("name", lambda: Encoding(LONE)),
        ("pat_str", lambda: Encoding("x", pat_str=LONE, mergeable_ranks={b"a": 0})),
        (
            "special_tokens",
            lambda: Encoding("x", pat_str="a", mergeable_ranks={b"a": 0}, special_tokens={LONE: 1}),
        ),
        ("allowed_special", lambda: GPT2.encode("a", allowed_special={LONE})),
        ("disallowed_special", lambda: GPT2.encode("a", disallowed_special=[LONE])),
        ("allowed_special", lambda: GPT2.encode("a", allowed_special=LONE)),
        ("separator", lambda: GPT2.encode_files("b.txt", separator=LONE)),
        ("field", lambda: GPT2.encode_files("b.txt", field=LONE)),
        ("out", lambda: GPT2.encode_files("b.txt", out=LONE)),
        ("name", lambda: Encoding.from_file("b.tiktoken", name=LONE)),
        ("pattern", lambda: Encoding.from_file("b.tiktoken", pattern=LONE)),
        ("path", lambda: GPT2.save(LONE)),
        ("source", lambda: bpe_rs.WordTokenizer.train(LONE)),
        ("form", lambda: bpe_rs.WordTokenizer.train("a", form=LONE)),
        ("text", lambda: WORDS.encode(LONE)),
        ("text", lambda: WORDS.tokens(LONE)),
        ("text", lambda: WORDS.encode_to_numpy(LONE)),
        ("source", lambda: bpe_rs.CharTokenizer.train(["a", LONE])),
        ("unknown", lambda: bpe_rs.CharTokenizer.train("a", unknown=LONE)),
        ("text", lambda: bpe_rs.CharTokenizer.train("a").encode(LONE)),
        ("json", lambda: hf.Tokenizer.from_str(LONE)),
        ("sequence", lambda: TOKENIZER.encode(LONE)),
        ("pair", lambda: TOKENIZER.encode("a", LONE)),
        ("input", lambda: TOKENIZER.encode_batch(["a", LONE])),
        ("token", lambda: TOKENIZER.token_to_id(LONE)),
        ("tokens", lambda: TOKENIZER.add_tokens([LONE])),
        ("tokens", lambda: TOKENIZER.add_special_tokens([hf.AddedToken(LONE)])),
        ("tokens", lambda: TOKENIZER.decoder.decode(["a", LONE])),
        ("pad_token", lambda: TOKENIZER.enable_padding(pad_token=LONE)),
        ("strategy", lambda: TOKENIZER.enable_truncation(3, strategy=LONE)),
    ],
)
def test_lone_surrogates_are_errors_that_name_the_argument(
    argument: str, call: Callable[[], object]
) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{argument}: expected .*surrogates"):
        call()


def test_a_text_to_encode_may_hold_lone_surrogates_as_in_tiktoken() -> None:
    assert GPT2.encode(LONE) == GPT2.encode("a\ufffd") == GPT2.encode_batch([LONE])[0]


@pytest.mark.parametrize("name", ["gpt5", "o200", "llama4.1", "cl100k-base", "GPT2"])
def test_an_unknown_name_of_a_pattern_is_not_a_regular_expression(name: str, folder: Path) -> None:
    GPT2.save("x.tiktoken")
    for call in (
        lambda: bpe_rs.train(["a"], vocab_size=300, pattern=name),
        lambda: bpe_rs.count_words(["a"], pattern=name),
        lambda: bpe_rs.WordCounts.from_mapping({"a": 1}, pattern=name),
        lambda: Encoding.from_file("x.tiktoken", pattern=name),
    ):
        with pytest.raises(ValueError, match=rf"^pattern: expected one of gpt2, .*'{name}'.*\(\?:"):
            call()
    assert bpe_rs.count_words([f"{name} {name}"], pattern=f"(?:{name})")[name] == 2
    for pattern in ("a", "a+", "gpt2", "r50k_base", "llama3.1", r"\S+", "a.c"):
        assert bpe_rs.count_words(["a"], pattern=pattern).pattern


def test_an_encoding_whose_pattern_looks_like_a_name_can_be_extended() -> None:
    base = Encoding("x", pat_str="gpt5", mergeable_ranks=GPT2.mergeable_ranks, special_tokens={})
    with pytest.warns(UserWarning, match="asks for"):
        assert bpe_rs.train(["gpt5 gpt5"], vocab_size=60_000, base=base).pat_str == "gpt5"


def test_counted_words_are_no_texts():
    for learn in (lambda source: bpe_rs.train(source, vocab_size=300), bpe_rs.count_words):
        with pytest.raises(TypeError, match=r"^source: .*WordCounts\.from_mapping"):
            learn({"low": 5, "lower": 2})
    counts = bpe_rs.count_words(["low"])
    for other in (None, {"low": 5}):
        with pytest.raises(TypeError, match=r"^others: expected WordCounts, got "):
            counts.merge(other)  # type: ignore[arg-type]
    assert len(counts) == 1
