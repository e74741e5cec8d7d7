"""A `tokenizer.json` that would not be reproduced exactly is an error that names the cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hf_cases
import pytest
import tokenizers
from bpe_rs.hf import Tokenizer

Change = Callable[[dict[str, Any]], Any]


def replaced(*keys: str, value: Any) -> Change:
    def change(file: dict[str, Any]) -> None:
        for key in keys[:-1]:
            file = file[key]
        file[keys[-1]] = value

    return change


def split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ],
    }


CASES: dict[str, Change] = {
    "WordPiece": replaced("model", value={"type": "WordPiece", "unk_token": "[UNK]", "vocab": {}}),
    "Unigram": replaced("model", value={"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.5]]}),
    "WordLevel": replaced("model", value={"type": "WordLevel", "vocab": {}, "unk_token": "u"}),
    "dropout": replaced("model", "dropout", value=1.5),
    "continuing_subword_prefix": replaced("model", "continuing_subword_prefix", value="##"),
    "new_setting": replaced("model", "new_setting", value=1),
    "precompiled_charsmap": replaced(
        "normalizer", value={"type": "Precompiled", "precompiled_charsmap": ""}
    ),
    "cut off": replaced(
        "normalizer", value={"type": "Precompiled", "precompiled_charsmap": "/////w=="}
    ),
    "new_option": replaced("pre_tokenizer", "new_option", value=True),
    r"\\X": replaced("pre_tokenizer", value=split(r"\X+")),
    "FixedLength": replaced("pre_tokenizer", value={"type": "FixedLength", "length": 0}),
    "add_prefix_space": replaced(
        "pre_tokenizer",
        value={"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}
        | {"prepend_scheme": "first"},
    ),
    "byte_fallback with": lambda file: file["model"].update(
        byte_fallback=True, end_of_word_suffix="</w>"
    ),
    "what looks behind": replaced("pre_tokenizer", value=split("(?<=a+)b")),
    "regardless of case": replaced("pre_tokenizer", value=split("(?i)ß")),
    "unclosed": replaced("pre_tokenizer", value=split("(a")),
    "behavior": replaced(
        "pre_tokenizer",
        value={"type": "Split", "pattern": {"String": "a"}, "behavior": "Sideways"},
    ),
    "future": replaced("future", value={}),
    "continue the vocabulary": replaced(
        "added_tokens", value=[{"id": 5000, "content": "<x>", "special": True}]
    ),
    "expected tokens of the vocabulary": replaced("model", "merges", value=[["a", "nothere"]]),
}


@pytest.mark.parametrize("named", CASES)
def test_refused_by_name(named: str, tmp_path: Path) -> None:
    file = json.loads(hf_cases.family("gpt2"))
    CASES[named](file)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    pattern = "regular expression|pattern" if named == "unclosed" else named
    with pytest.raises(ValueError, match=pattern) as caught:
        Tokenizer.from_file(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 200_000, '{"model": ' * 50_000, '{"model": {"type": "BPE"}}'],
)
def test_not_a_tokenizer(text: str) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json|model"):
        Tokenizer.from_str(text)


def test_both_forms_of_merges() -> None:
    file = json.loads(hf_cases.family("gpt2"))
    pairs = Tokenizer.from_str(json.dumps(file))
    file["model"]["merges"] = [" ".join(merge) for merge in file["model"]["merges"]]
    lines = Tokenizer.from_str(json.dumps(file))
    assert lines.to_str() == pairs.to_str()
    assert tokenizers.Tokenizer.from_str(json.dumps(file)).to_str() == lines.to_str()
    file["model"]["merges"][3] = "a b c"
    with pytest.raises(ValueError, match="a b c"):
        Tokenizer.from_str(json.dumps(file))


def test_a_component_that_is_set_later_is_checked() -> None:
    tokenizer = Tokenizer.from_str(hf_cases.family("gpt2"))
    with pytest.raises(ValueError, match="precompiled_charsmap"):
        tokenizer.normalizer = {"type": "Precompiled", "precompiled_charsmap": ""}
    with pytest.raises(ValueError, match="read alike"):
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(
            tokenizers.Regex(r"\X"), "removed"
        )
    with pytest.raises(ValueError, match="Sideways"):
        tokenizer.post_processor = {"type": "Sideways"}
    with pytest.raises(TypeError, match="decoder"):
        tokenizer.decoder = 5
    assert tokenizer.to_str() == hf_cases.family("gpt2")
