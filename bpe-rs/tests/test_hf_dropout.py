"""Dropout: the tokens of a text are drawn from the distribution of Hugging Face's engine."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import hf_cases
import hf_families
import pytest
import tokenizers
from bpe_rs import Encoding, hf

FILES = {"llama2": hf_families.family, "clip": hf_families.family, "gpt2": hf_cases.family}


def both(name: str, rate: float) -> tuple[hf.Tokenizer, Any]:
    file = json.loads(FILES[name](name))
    file["model"]["dropout"] = rate
    text = json.dumps(file)
    return hf.Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text)


@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.parametrize("name", FILES)
def test_never_and_always(name: str, rate: float) -> None:
    ours, theirs = both(name, rate)
    assert ours.to_str() == theirs.to_str()
    for text in hf_cases.TEXTS:
        got, want = ours.encode(text), theirs.encode(text)
        assert (got.tokens, got.offsets) == (want.tokens, want.offsets), text


@pytest.mark.parametrize("name", FILES)
def test_the_distribution(name: str) -> None:
    """Of 3,000 draws of a word, the shares of its segmentations differ by less than noise makes
    likely (an error of 1 in more than a million runs)."""
    ours, theirs = both(name, 0.4)
    ours.seed_dropout(1)
    draws = 3000
    counts = [
        Counter(tuple(each.encode("the object").tokens) for _ in range(draws))
        for each in (ours, theirs)
    ]
    kinds = set(counts[0]) | set(counts[1])
    assert len(kinds) > 8
    for kind in kinds:
        first, second = (count[kind] / draws for count in counts)
        spread = ((first + second) / draws) ** 0.5
        assert abs(first - second) < 5.5 * spread + 4 / draws, kind


@pytest.mark.parametrize("name", FILES)
def test_a_seed_gives_the_same_tokens_again(name: str) -> None:
    ours, _ = both(name, 0.5)
    rows = []
    for seed in (5, 5, 6):
        ours.seed_dropout(seed)
        rows.append([ours.encode(text).ids for text in hf_cases.TEXTS])
    assert rows[0] == rows[1] != rows[2]


def test_offsets_are_those_of_the_tokens() -> None:
    ours, _ = both("gpt2", 0.5)
    for text in hf_cases.TEXTS:
        encoding = ours.encode(text)
        assert len(encoding.offsets) == len(encoding.ids) == len(encoding.word_ids)
        assert ours.decode(encoding.ids, False) == text
        assert "".join(ours.id_to_token(id) or "" for id in encoding.ids) == "".join(
            encoding.tokens
        )
    words = ours.encode(["a", "list", "of words"], is_pretokenized=True)
    assert words.word_ids[-1] == 2


def test_setting_it() -> None:
    ours, theirs = (type(each).from_str(hf_cases.family("gpt2")) for each in both("gpt2", 0.0))
    for tokenizer in (ours, theirs):
        before = tokenizer.encode("hello").ids
        tokenizer.model.dropout = 1.0
        assert len(tokenizer.encode("hello").ids) == 5
        tokenizer.model.dropout = None
        assert tokenizer.encode("hello").ids == before
    assert ours.to_str() == theirs.to_str()


def test_an_encoding_has_none(tmp_path: Any) -> None:
    path = tmp_path / "tokenizer.json"
    ours, _ = both("gpt2", 0.1)
    ours.save(path)
    with pytest.raises(ValueError, match="dropout"):
        Encoding.from_file(path)
