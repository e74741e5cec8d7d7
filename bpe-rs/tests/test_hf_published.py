"""The readers of published vocabularies that `tools/hf_model_suites.py` uses."""

from __future__ import annotations

import struct
from pathlib import Path

import hf_published
import pytest
import tokenizers


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(data)) + data


def gguf(path: Path) -> None:
    """A file with a number, a string and arrays; the second token is no UTF-8."""
    tokens = ["a", "\udcff", "<|endoftext|>"]
    fields = [
        text("general.alignment") + struct.pack("<IQ", 10, 32),
        text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("gpt2"),
        text("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", 9, 8, len(tokens))
        + b"".join(map(text, tokens)),
        text("tokenizer.ggml.token_type") + struct.pack("<IIQ3i", 9, 5, 3, 1, 1, 3),
        text("tokenizer.ggml.merges") + struct.pack("<IIQ", 9, 8, 1) + text("a b"),
    ]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(fields)) + b"".join(fields))


def test_gguf_file(tmp_path: Path) -> None:
    gguf(tmp_path / "ggml-vocab-gpt-2.gguf")
    found = hf_published.of_llama_cpp(tmp_path, "gpt-2")
    assert set(found) == {"model", "tokens", "token_type", "merges"}
    assert found["token_type"] == [1, 1, 3]
    vocabulary, merges = hf_published.byte_level(tmp_path, "gpt-2")
    assert vocabulary == {"a": 0, "\udcff": 1, "<|endoftext|>": 2}
    assert merges == [("a", "b")]


def test_other_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"GGML" + bytes(20))
    with pytest.raises(ValueError, match="expected a GGUF file"):
        hf_published.gguf(tmp_path / "other")


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
