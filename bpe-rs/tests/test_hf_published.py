"""The readers of published vocabularies that `tools/hf_model_suites.py` uses."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
import hf_published  # noqa: E402


def test_gguf_file(tmp_path: Path) -> None:
    """The second token is no UTF-8."""
    writer = gguf.GGUFWriter(tmp_path / "ggml-vocab-gpt-2.gguf", "gpt2")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([b"a", b"\xff", b"<|endoftext|>"])
    writer.add_token_types([1, 1, 3])
    writer.add_token_merges(["a b"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    found = hf_published.of_llama_cpp(tmp_path, "gpt-2")
    assert set(found) == {"model", "tokens", "token_type", "merges"}
    assert found["token_type"] == [1, 1, 3]
    vocabulary, merges = hf_published.byte_level(tmp_path, "gpt-2")
    assert vocabulary == {"a": 0, "\udcff": 1, "<|endoftext|>": 2}
    assert merges == [("a", "b")]


def test_letters_are_those_of_byte_level() -> None:
    """`tokenizers` writes a byte of a text that is one byte long as this letter."""
    pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = hf_published.letters()
    assert sorted(letters) == sorted(pre_tokenizer.alphabet())
    for byte in range(1, 128):
        assert pre_tokenizer.pre_tokenize_str(chr(byte)) == [(letters[byte], (0, 1))]


def test_parts_follow_ranks() -> None:
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"bc": 3, b"ab": 4, b"abc": 5, b"abcabc": 6}
    assert hf_published.parts(b"abc", ranks) == (b"a", b"bc")
    assert hf_published.parts(b"abcabc", ranks) == (b"abc", b"abc")
