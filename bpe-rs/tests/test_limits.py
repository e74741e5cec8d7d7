"""Numbers of any size as arguments: memory by the data, and errors that name argument and limit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import bpe_rs
import bpe_rs.hf
import numpy as np
import pytest
from bpe_rs import WordTokenizer

HUGE = [2**31 - 1, 2**31, 2**32, 10**15, 2**63, 2**64, 10**30]
LONGEST_ROW = 1 << 24

encoding = bpe_rs.get_encoding("r50k_base")
words = WordTokenizer.train("low low lower lowest newest", num_merges=4)


def quietly(call: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def test_a_vocabulary_is_as_large_as_the_text_allows():
    expected = quietly(lambda: bpe_rs.train(["low lower lowest"], vocab_size=300))
    with pytest.warns(UserWarning, match="asks for 2147483391 merges, the text has only 7"):
        found = bpe_rs.train(["low lower lowest"], vocab_size=2**31 - 1)
    assert found.mergeable_ranks == expected.mergeable_ranks
    for size in HUGE[1:]:
        with pytest.raises(ValueError, match=r"vocab_size below 2\^31"):
            bpe_rs.train(["a b"], vocab_size=size)
    base = quietly(lambda: bpe_rs.train(["low lower"], vocab_size=2**31 - 1, base=encoding))
    assert base.n_vocab == encoding.n_vocab


def test_the_limit_of_merges_is_told_before_the_work():
    letters = np.random.default_rng(1).integers(97, 123, 1_100_000, dtype=np.uint8).tobytes()
    with pytest.raises(
        ValueError, match=r"vocab_size of at most 1048319 merges.*got one of 2096896"
    ):
        bpe_rs.train([letters], vocab_size=(1 << 21), initial_alphabet=range(256))


@pytest.mark.parametrize("number", [*HUGE, 40_000])
def test_threads_are_at_most_as_many_as_cores(number: int):
    batch = ["a b"] * 3
    assert encoding.encode_batch(batch, num_threads=number) == [[64, 275]] * 3
    assert encoding.encode_ordinary_batch(batch, num_threads=number) == [[64, 275]] * 3
    assert len(bpe_rs.count_words(batch, num_threads=number)) == 2
    trained = quietly(lambda: bpe_rs.train(batch, vocab_size=258, num_threads=number))
    assert trained.n_vocab == 257


def test_counts_and_lengths_of_any_size():
    for number in HUGE:
        train = lambda **given: quietly(lambda: bpe_rs.train(["aa aa"], vocab_size=300, **given))  # noqa: E731
        assert train(min_frequency=number).n_vocab == 256
        assert train(max_token_length=number).n_vocab == 258
        assert len(bpe_rs.count_words(["a"]).prune(number)) == 0
        assert encoding.count_till_limit("a b", number) == 2
        encoding.set_cache_limit(number)
        merged = quietly(lambda n=number: WordTokenizer.train("low low", num_merges=n))
        assert merged.tokens("low") == ["low</w>"]
    encoding.set_cache_limit(32 << 20)


@pytest.mark.parametrize("length", [LONGEST_ROW + 1, *HUGE])
def test_padding_says_its_limit(length: int):
    limit = f"max_length from 0 to {LONGEST_ROW}"
    for call in (
        lambda: words.encode("low", max_length=length),
        lambda: words.encode_batch(["low"], max_length=length),
        lambda: encoding.encode_padded(["a"], length),
    ):
        with pytest.raises(ValueError, match=limit):
            call()
    hf = bpe_rs.hf.Tokenizer.from_str(MINIMAL)
    for name in ("length", "pad_to_multiple_of"):
        with pytest.raises(ValueError, match=f"expected {name} of at most {LONGEST_ROW}"):
            hf.enable_padding(**{name: length})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=f"expected length of at most {LONGEST_ROW}"):
        hf.encode("a").pad(min(length, 2**64 - 1))


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "vocab_size": lambda n: bpe_rs.train(["a b"], vocab_size=n),
    "min_frequency": lambda n: bpe_rs.train(["a b"], vocab_size=257, min_frequency=n),
    "max_token_length": lambda n: bpe_rs.train(["a b"], vocab_size=257, max_token_length=n),
    "num_threads": lambda n: bpe_rs.train(["a b"], vocab_size=257, num_threads=n),
    "num_threads of encode_batch": lambda n: encoding.encode_batch(["a"], num_threads=n),
    "num_threads of count_words": lambda n: bpe_rs.count_words(["a"], num_threads=n),
    "num_merges": lambda n: WordTokenizer.train("a b", num_merges=n),
    "max_length": lambda n: words.encode("low", max_length=n),
    "max_length of encode_padded": lambda n: encoding.encode_padded(["a"], n),
    "min_count": lambda n: bpe_rs.count_words(["a"]).prune(n),
    "limit": lambda n: encoding.count_till_limit("a", n),
    "bytes": lambda n: encoding.set_cache_limit(n),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused_by_name(name: str):
    argument = name.split()[0]
    for wrong in (True, 1.5, "3", [None]):
        with pytest.raises(TypeError, match=argument):
            NUMBERS[name](wrong)
    for wrong in (-1, -(10**30)):
        with pytest.raises(ValueError, match=argument):
            NUMBERS[name](wrong)


def test_ids_of_any_size_are_outside_the_vocabulary():
    for wrong in (-1, 2**32, 10**30):
        with pytest.raises(ValueError, match="outside the vocabulary"):
            words.decode([wrong])
        with pytest.raises(ValueError, match="outside the vocabulary"):
            words.id_to_token(wrong)


MINIMAL = """{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
"normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
"trim_offsets": true, "use_regex": true}, "post_processor": null, "decoder": {"type": "ByteLevel",
"add_prefix_space": true, "trim_offsets": true, "use_regex": true}, "model": {"type": "BPE",
"dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": {"a": 0}, "merges": []}}
"""
