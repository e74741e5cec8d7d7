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


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
LLAMA2_DECODER = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ],
}

CASES: dict[str, Change] = {
    "WordPiece": replaced("model", value={"type": "WordPiece", "unk_token": "[UNK]", "vocab": {}}),
    "Unigram": replaced("model", value={"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.5]]}),
    "WordLevel": replaced("model", value={"type": "WordLevel", "vocab": {}, "unk_token": "u"}),
    "byte_fallback": replaced("model", "byte_fallback", value=True),
    "dropout": replaced("model", "dropout", value=0.1),
    "continuing_subword_prefix": replaced("model", "continuing_subword_prefix", value="##"),
    "end_of_word_suffix": replaced("model", "end_of_word_suffix", value="</w>"),
    "new_setting": replaced("model", "new_setting", value=1),
    "Lowercase": replaced("normalizer", value={"type": "Lowercase"}),
    "Precompiled": replaced(
        "normalizer", value={"type": "Precompiled", "precompiled_charsmap": ""}
    ),
    "Metaspace": replaced("pre_tokenizer", value=METASPACE),
    "BertPreTokenizer": replaced("pre_tokenizer", value={"type": "BertPreTokenizer"}),
    "without ByteLevel": replaced("pre_tokenizer", value=None),
    "BertProcessing": replaced(
        "post_processor", value={"type": "BertProcessing", "sep": ["a", 1], "cls": ["b", 2]}
    ),
    "new_option": replaced("pre_tokenizer", "new_option", value=True),
    "Replace": replaced("decoder", value=LLAMA2_DECODER),
    "WordPiece decoder": replaced("decoder", value={"type": "WordPiece", "prefix": "##"}),
    r"\\w": replaced("pre_tokenizer", value=split(r"\w+")),
    "end of a line": replaced("pre_tokenizer", value=split("a$")),
    "named": replaced("pre_tokenizer", value=split("(?<named>a)")),
    "unclosed": replaced("pre_tokenizer", value=split("(a")),
    "behavior": replaced(
        "pre_tokenizer",
        value={"type": "Split", "pattern": {"String": "a"}, "behavior": "Sideways"},
    ),
    "future": replaced("future", value={}),
    "continue the vocabulary": replaced(
        "added_tokens", value=[{"id": 5000, "content": "<x>", "special": True}]
    ),
    "unk_token": lambda file: (
        file["model"].update(unk_token="Ġ"),
        file["model"]["vocab"].pop("ÿ"),
        file["model"].update(merges=[]),
    ),
    "expected tokens of the vocabulary": replaced("model", "merges", value=[["a", "nothere"]]),
}


@pytest.mark.parametrize("named", CASES)
def test_refused_by_name(named: str, tmp_path: Path) -> None:
    file = json.loads(hf_cases.family("gpt2"))
    CASES[named](file)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    word = named.removesuffix(" decoder")
    pattern = "regular expression|pattern" if named == "unclosed" else word
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
    with pytest.raises(ValueError, match="Lowercase"):
        tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    with pytest.raises(ValueError, match="Metaspace"):
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    with pytest.raises(ValueError, match="BertProcessing"):
        tokenizer.post_processor = tokenizers.processors.BertProcessing(("a", 1), ("b", 2))
    with pytest.raises(TypeError, match="decoder"):
        tokenizer.decoder = 5
    assert tokenizer.to_str() == hf_cases.family("gpt2")
