"""Two tokenizers compared."""

import bpe_rs
import pytest

from gptpy.tokenizer.comparison import compare_tokenizers

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 4


def test_counts_and_overlap():
    small = bpe_rs.train([TEXT], vocab_size=260, name="small")
    large = bpe_rs.train([TEXT], vocab_size=280, name="large")
    found = compare_tokenizers(small, large, TEXT)
    assert found.bytes == len(TEXT)
    for side, encoding in [(found.left, small), (found.right, large)]:
        ids = encoding.encode_ordinary(TEXT)
        assert side.tokens == len(ids) == sum(side.lengths)
        assert side.used == len(set(ids))
        assert side.bytes_per_token == len(TEXT) / len(ids)
        assert sum((i + 1) * n for i, n in enumerate(side.lengths)) == len(TEXT)
    assert found.shared == 260 and found.overlap == 1.0
    assert found.right.bytes_per_token > found.left.bytes_per_token


def test_no_text_is_an_error():
    small = bpe_rs.train([TEXT], vocab_size=260)
    with pytest.raises(ValueError, match="some text"):
        compare_tokenizers(small, small, "")
