"""What our objects say of themselves, in `isinstance` and `repr`, against those of `tokenizers`."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import hf_cases
import hf_families
import pytest
import tokenizers
from bpe_rs import hf

KINDS = ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model")
FAMILIES = [*hf_families.FAMILIES, *hf_cases.FAMILIES]


def both(name: str) -> tuple[Any, Any]:
    made = hf_families if name in hf_families.FAMILIES else hf_cases
    text = made.family(name)
    return tokenizers.Tokenizer.from_str(text), hf.Tokenizer.from_str(text)


@pytest.mark.parametrize("name", FAMILIES)
def test_components(name: str) -> None:
    theirs, ours = both(name)
    for kind in KINDS:
        want, got = getattr(theirs, kind), getattr(ours, kind)
        if want is None:
            assert got is None
            continue
        assert isinstance(got, type(want)) and isinstance(got, type(want).__mro__[1])
        assert not isinstance(got, tokenizers.AddedToken)
        assert isinstance(pickle.loads(pickle.dumps(got)), type(want))  # noqa: S301
        assert isinstance(copy.deepcopy(got), type(want))
        assert (repr(got), str(got)) == (repr(want), str(want))


@pytest.mark.parametrize("name", FAMILIES)
def test_tokenizers(name: str) -> None:
    theirs, ours = both(name)
    for tokenizer in (theirs, ours):
        tokenizer.enable_truncation(7, stride=2, strategy="only_first")
        tokenizer.enable_padding(length=9)
        tokenizer.add_tokens([f"<new {number}>" for number in range(8)] + ["x" * 130, '"'])
    assert repr(ours) == repr(theirs)
    assert str(ours) == str(theirs)


def test_settings_in_repr() -> None:
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(dropout=0.1, unk_token="[UNK]"))
    ours = hf.Tokenizer.from_str(theirs.to_str())
    for tokenizer in (theirs, ours):
        tokenizer.enable_truncation(5)
        tokenizer.enable_padding(direction="left")
    assert repr(ours) == repr(theirs) and "dropout=0.10000000149011612" in repr(ours)
    assert repr(ours.model) == repr(theirs.model)
    ours_token, token = (
        cls('a "b"', lstrip=True) for cls in (hf.AddedToken, tokenizers.AddedToken)
    )
    assert repr(ours_token) == repr(token) and str(ours_token) == str(token)


def test_encodings() -> None:
    encoding = both("llama2")[1].encode("a b")
    assert isinstance(encoding, tokenizers.Encoding) and isinstance(encoding, hf.Encoding)
    assert type(encoding) is hf.Encoding
    pickled = pickle.loads(pickle.dumps(encoding))  # noqa: S301
    for again in (pickled, copy.deepcopy(encoding)):
        assert type(again) is hf.Encoding and again.ids == encoding.ids


def test_without_tokenizers() -> None:
    """Nothing is imported for it."""
    program = """
import sys
from bpe_rs import hf
model = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
import json
tokenizer = hf.Tokenizer.from_str(json.dumps({"model": model, "normalizer": {"type": "NFC"}}))
assert tokenizer.normalizer.__class__ is type(tokenizer.normalizer)
assert tokenizer.model.__class__ is hf.BPE and isinstance(tokenizer.normalizer, hf.Normalizer)
assert tokenizer.encode("a").__class__ is hf.Encoding
assert "tokenizers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
