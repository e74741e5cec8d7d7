"""Tokenizers compared."""

from typing import Any

import bpe_rs
import pytest

from gptpy.tokenizer import make_tokenizer, open_tokenizer, train_tokenizer
from gptpy.tokenizer.comparison import compare_tokenizers, vocabulary_size

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 4
OTHER = "der schnelle braune Fuchs springt über den faulen Hund"


def test_counts_and_overlap():
    tokenizers = {
        "small": train_tokenizer([TEXT], 260, special_tokens=[]),
        "large": train_tokenizer([TEXT], 290, special_tokens=[]),
    }
    told = []
    found = compare_tokenizers(
        tokenizers, {"english": TEXT, "german": OTHER}, lambda *names: told.append(names)
    )
    assert found.sizes == {"english": len(TEXT), "german": len(OTHER.encode())}
    assert found.vocabularies == {"small": 260, "large": 290}
    assert set(told) == set(found.readings) and len(told) == 4
    for (name, title), reading in found.readings.items():
        text = {"english": TEXT, "german": OTHER}[title]
        ids = tokenizers[name].encode_ordinary(text)
        words = text.split()
        assert reading.tokens == len(ids) and reading.used == len(set(ids))
        assert reading.bytes_per_token == len(text.encode()) / len(ids)
        assert reading.fertility == len(ids) / len(words)
        one = [len(tokenizers[name].encode_ordinary(" " + word)) == 1 for word in words]
        assert reading.whole_words == sum(one) / len(words)
        assert reading.lossless and reading.megabytes_per_second > 0
    assert found.shared == {("small", "large"): 260}
    better, worse = found.readings["large", "english"], found.readings["small", "english"]
    assert better.fertility < worse.fertility and better.whole_words > worse.whole_words


def test_ids_without_a_token_do_not_count():
    whole: Any = train_tokenizer([TEXT], 290, special_tokens=["<|e|>"])
    small: Any = bpe_rs.prune(whole, [TEXT], remove=9)
    assert small.n_vocab == 290 and vocabulary_size(small) == 281
    assert vocabulary_size(open_tokenizer("o200k_base")) == 199_998 + 2
    assert vocabulary_size(make_tokenizer("words:50", lambda: [TEXT])) <= 50


def test_what_is_unknown_is_told():
    words = make_tokenizer("words:50", lambda: [TEXT])
    found = compare_tokenizers({"words": words, "gpt2": open_tokenizer("gpt2")}, {"a": OTHER})
    assert not found.readings["words", "a"].lossless and found.readings["gpt2", "a"].lossless
    assert found.shared == {}  # a word-level vocabulary has no bytes


def test_no_text_is_an_error():
    with pytest.raises(ValueError, match="b: expected some text"):
        compare_tokenizers({"gpt2": open_tokenizer("gpt2")}, {"a": "a", "b": ""})
