"""Texts that make encoders slow or wrong: our ids are tiktoken's, at sizes that it can encode."""

import random

import bpe_rs
import pytest
from hard_texts import FAMILIES
from reference_tiktoken import tiktoken_encoding

NAMES = ["r50k_base", "p50k_base", "cl100k_base", "o200k_base"]


@pytest.fixture(scope="module", params=NAMES)
def pair(request):
    ours = bpe_rs.get_encoding(request.param)
    return ours, tiktoken_encoding(ours)


@pytest.mark.parametrize("family", FAMILIES)
def test_same_ids(pair, family):
    ours, theirs = pair
    # Below and above the length from which pieces are merged in windows, and several windows.
    for size in (2000, 2111, 2113, 4300, 20_000):
        text = FAMILIES[family](size)
        assert size - 300 < len(text.encode()) <= size
        ids = theirs.encode_ordinary(text)
        assert ours.encode_ordinary(text) == ids, size
        assert ours.count(text) == len(ids)
        assert ours.decode(ids) == text


def test_a_million_blanks(pair):
    """tiktoken panics here, because its regex engine gives up; its merging does not."""
    ours, theirs = pair
    for blanks in (1_300_000, 2_000_000):
        want = theirs._encode_single_piece(b" " * (blanks - 1))
        want += theirs._encode_single_piece(b" x")
        assert ours.encode_ordinary(" " * blanks + "x") == want
        assert ours.encode(" " * blanks + "x") == want


def test_long_pieces_inside_other_text(pair):
    ours, theirs = pair
    rng = random.Random(4)
    words = ["the ", "x" * 5000, "ab" * 3000, " " * 4000, "你好" * 900, "\n", "12", "é" * 2500]
    for _ in range(10):
        text = "".join(rng.choices(words, k=30))
        assert ours.encode_ordinary(text) == theirs.encode_ordinary(text)
