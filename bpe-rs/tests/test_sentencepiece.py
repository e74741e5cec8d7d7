"""SentencePiece's BPE models, read without the library, against the library."""

from __future__ import annotations

import io
import random
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import hf_cases
import pytest
from bpe_rs import hf

spm: Any = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")

LINES = "\n".join([*list(topics.values())[:8], hf_cases.WORDS * 4]).splitlines()
IDENTITY = {"normalization_rule_name": "identity"}
LLAMA = {**IDENTITY, "byte_fallback": True, "remove_extra_whitespaces": False}
GEMMA = {**LLAMA, "add_dummy_prefix": False, "split_digits": True}
MODELS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "gemma": GEMMA,
    "symbols": {**GEMMA, "user_defined_symbols": ["<x>", "ab", "<x><x>"]},
    "identity": IDENTITY,
    "unknown": {**IDENTITY, "character_coverage": 0.98, "remove_extra_whitespaces": False},
    "nmt_nfkc": {},
    "nfkc_cf": {**GEMMA, "normalization_rule_name": "nfkc_cf"},
    "nfkc": {"normalization_rule_name": "nfkc", "remove_extra_whitespaces": False},
    "nmt_nfkc_cf": {"normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False},
    "spaces": {**LLAMA, "split_by_whitespace": False, "allow_whitespace_only_pieces": True},
}


def trained(**options: Any) -> bytes:
    out = io.BytesIO()
    defaults = {"model_type": "bpe", "vocab_size": 700, "minloglevel": 3, "num_threads": 1}
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=out, **{**defaults, **options}
    )
    return out.getvalue()


def texts() -> list[str]:
    rng = random.Random(5)
    alphabet = [*"ab  \u2581.-0\n\t", "the", "é", "中", "🎉", "<x>", "\u3000", "aaa", "===="]
    alphabet += [*"\u0301\u0323\x00\u200bﬁÅ①㌀ｶﾞ각½ﷺẛ", "e\u0301"]
    made = ["".join(rng.choices(alphabet, k=rng.randint(0, 40))) for _ in range(400)]
    return [*LINES[:200], *hf_cases.TEXTS, *made]


@pytest.mark.parametrize("name", MODELS)
def test_ids_and_texts(name: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(trained(**MODELS[name]))
    theirs = spm.SentencePieceProcessor(model_file=str(path))
    ours = hf.Tokenizer.from_file(path)
    ours.encode_special_tokens = True
    again = hf.Tokenizer.from_str(ours.to_str())
    again.encode_special_tokens = True
    assert ours.get_vocab_size() == theirs.vocab_size()
    for text in texts():
        ids = theirs.encode(text)
        assert ours.encode(text).ids == ids, text
        assert again.encode(text).ids == ids, text
        if theirs.unk_id() not in ids:
            assert ours.decode(ids) == theirs.decode(ids), text
    for id in range(theirs.vocab_size()):
        if not theirs.is_control(id):
            assert ours.model.id_to_token(id) == theirs.id_to_piece(id)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model_type": "unigram"}, "UNIGRAM"),
        ({"model_type": "char", "vocab_size": 80}, "CHAR"),
        (
            {"add_dummy_prefix": False, "remove_extra_whitespaces": False}
            | {"user_defined_symbols": ["<x>"]},
            "character map",
        ),
        ({**IDENTITY, "treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix"),
        ({**LLAMA, "user_defined_symbols": ["<x>"]}, "user-defined .* add_dummy_prefix"),
        ({**GEMMA, "user_defined_symbols": ["\u2581\u2581"]}, "user-defined symbols of spaces"),
    ],
)
def test_refused(options: dict[str, Any], problem: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(trained(**options))
    with pytest.raises(ValueError, match=problem) as caught:
        hf.Tokenizer.from_file(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    whole = trained(**LLAMA)
    path = tmp_path / "tokenizer.model"
    rng = random.Random(1)
    for data in [b"", b"{}", whole[:1000], whole[1:], *(rng.randbytes(60) for _ in range(200))]:
        path.write_bytes(data)
        try:
            hf.Tokenizer.from_file(path)
        except ValueError as error:
            assert "SentencePiece" in str(error) or "model" in str(error)
