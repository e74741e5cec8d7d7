"""Training on words of any length: the reference's merges, and no cliff."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any

import bpe_rs
import pytest
from bpe_rs import WordTokenizer
from hard_texts import FAMILIES
from reference_training import reference_train, words_of

RULES: list[Any] = ["huggingface", "pair", "first_seen", "longest"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def tokens_of(encoding: bpe_rs.Encoding) -> list[bytes]:
    return [encoding.decode_single_token_bytes(i) for i in range(encoding.n_vocab)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("pattern", ["gpt2", r"[\s\S]+"])
def test_merges_of_long_words_are_those_of_the_reference(rule, pattern):
    for name, make in FAMILIES.items():
        texts = [make(size) for size in (61, 700)] + ["ab " + make(130)]
        expected = reference_train(words_of(texts, pattern), 285, rule)
        found = bpe_rs.train(texts, vocab_size=285, pattern=pattern, tie_break=rule)
        assert tokens_of(found) == expected, name


def test_limits_and_bases_hold_in_long_words():
    rng = random.Random(4)
    texts = ["".join(rng.choices("abc", k=900)) for _ in range(3)]
    counted = words_of(texts)
    different: list[Any] = [{"max_token_length": 3}, {"min_frequency": 20}]
    for limits in different:
        expected = reference_train(counted, 300, "longest", **limits)
        found = bpe_rs.train(texts, vocab_size=300, tie_break="longest", **limits)
        assert tokens_of(found) == expected
    base = bpe_rs.train(texts, vocab_size=270, tie_break="pair")
    more = bpe_rs.train(texts, vocab_size=300, tie_break="pair", base=base)
    assert tokens_of(more) == reference_train(counted, 300, "pair")


def test_very_long_words_take_no_square():
    """Each of these took from ten seconds to hours when a merge searched whole words."""
    rng = random.Random(0)
    lines = ["".join(rng.choices("ACGT", k=30_000)) for _ in range(30)]
    found = bpe_rs.train(lines, vocab_size=500)
    assert found.decode(found.encode(lines[0])) == lines[0]
    runs = bpe_rs.train(["a" * 1_000_000], vocab_size=1000)
    lengths = [len(token) for token in tokens_of(runs)[256:]]
    assert lengths[:5] == [2, 4, 8, 16, 32] and sum(lengths) < 1 << 22
    for rule in RULES[2:]:
        bpe_rs.train([lines[0] * 2], vocab_size=600, tie_break=rule)
    forms: list[Any] = ["notebook", "standard"]
    for form in forms:
        words = WordTokenizer.train(lines[:3], num_merges=300, form=form)
        # The notebook's form may leave letters of the text without a token.
        assert words.decode(words.encode(lines[0])) == lines[0] or form == "notebook"
        runs = WordTokenizer.train("a" * 100_000, num_merges=30, form=form)
        assert runs.decode(runs.encode("a" * 100_000)) == "a" * 100_000


def test_many_special_tokens_take_no_square():
    names = [f"<|reserved_{i}|>" for i in range(20_000)]
    text = "a b " * 200_000 + names[-1] + "ab"
    found = bpe_rs.train([text], vocab_size=256 + len(names) + 1, special_tokens=names)
    assert found.n_vocab == 256 + len(names) + 1
    assert len(bpe_rs.count_words([text], special_tokens=names)) == 5
