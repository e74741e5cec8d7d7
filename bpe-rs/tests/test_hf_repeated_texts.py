"""Batches: ids stay those of Hugging Face's engine, text by text.

Whole texts are remembered, so each is encoded several times, before and after changes of what its
ids depend on. Short texts are encoded together, long ones in parts by several threads.
"""

from __future__ import annotations

import random
from typing import Any

import hf_cases
import hf_families
import pytest
import tokenizers
from bpe_rs.hf import Tokenizer
from tokenizers import normalizers, pre_tokenizers

FAMILIES = ("llama2", "mistral_v3", "gemma", "yi", "metaspace_always", "metaspace_never")
TEXTS = [
    "a",
    " ",
    "  two  spaces ",
    "a mark▁in a text ▁ ",
    "▁",
    "<s> a <s>b</s> c",
    "x<s>",
    "naïve e\u0301\u0323 中文 한국 🎉",
    "the same the same the same",
    "new~~token ~~ here",
    "\n a\n\n b",
    *("word " * count for count in (1, 40, 400)),
]


def texts_of(seed: int) -> list[str]:
    rng = random.Random(seed)
    parts = [*TEXTS, *" ▁ab<\n", "<unk>", "~~", "the", " the"]
    drawn = ["".join(rng.choices(parts, k=rng.randrange(1, 6))) for _ in range(40)]
    return [*TEXTS, *drawn, *drawn[::2]]


def check(ours: Tokenizer, theirs: Any, texts: list[str]) -> None:
    for special in (True, False):
        expected = [e.ids for e in theirs.encode_batch(texts, add_special_tokens=special)]
        for _ in range(2):
            got = ours.encode_batch(texts, add_special_tokens=special)
            assert [each.ids for each in got] == expected
            for text, ids in zip(texts, expected, strict=True):
                assert ours.encode(text, add_special_tokens=special).ids == ids, text


@pytest.mark.parametrize("family", FAMILIES)
def test_changes_between_equal_texts(family: str) -> None:
    file = hf_families.family(family)
    ours, theirs = Tokenizer.from_str(file), tokenizers.Tokenizer.from_str(file)
    texts = texts_of(FAMILIES.index(family))
    check(ours, theirs, texts)
    for tokenizer in (ours, theirs):
        tokenizer.add_tokens(["~~"])
    check(ours, theirs, texts)
    for tokenizer in (ours, theirs):
        tokenizer.encode_special_tokens = True
    check(ours, theirs, texts)
    # Spaces are spaces again, in the caches of pieces, too.
    for tokenizer in (ours, theirs):
        tokenizer.normalizer = None
        tokenizer.pre_tokenizer = None
    check(ours, theirs, texts)
    steps: list[Any] = [
        pre_tokenizers.Metaspace(prepend_scheme="always", split=True),
        pre_tokenizers.Metaspace("a", prepend_scheme="first", split=False),
        pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=True),
        pre_tokenizers.Metaspace("中", prepend_scheme="never", split=True),
    ]
    for step in steps:
        for tokenizer in (ours, theirs):
            tokenizer.pre_tokenizer = step
        check(ours, theirs, texts)
    for tokenizer in (ours, theirs):
        tokenizer.pre_tokenizer = None
    changes: list[Any] = [
        [normalizers.Replace(" ", "▁"), normalizers.Prepend("▁")],
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "a")],
        [normalizers.NFC(), normalizers.Replace(" ", "▁")],
        [normalizers.Replace(" ", "▁▁")],
        [normalizers.Replace(" ", "")],
    ]
    for change in changes:
        for tokenizer in (ours, theirs):
            tokenizer.normalizer = normalizers.Sequence(change)
        check(ours, theirs, texts)


def test_special_tokens_of_normalised_text() -> None:
    """Tokens that are looked for after normalising have marks in them."""
    file = hf_families.family("llama2")
    ours, theirs = Tokenizer.from_str(file), tokenizers.Tokenizer.from_str(file)
    for tokenizer in (ours, theirs):
        tokenizer.add_tokens([tokenizers.AddedToken("the same", normalized=True)])
    texts = texts_of(9)
    check(ours, theirs, texts)


@pytest.mark.parametrize("family", ["gpt2", "llama3", "qwen2", "deepseek_v3", "missing_bytes"])
def test_short_texts_together_and_long_ones_in_parts(family: str) -> None:
    file = hf_cases.family(family)
    ours, theirs = Tokenizer.from_str(file), tokenizers.Tokenizer.from_str(file)
    rng = random.Random(family)
    added = [token.content for token in theirs.get_added_tokens_decoder().values()][:3]
    parts = [*hf_cases.TEXTS, *TEXTS, *added, "", "", "e\u0301", "\u0301", "12345", "'s", "\n\n"]
    short = ["".join(rng.choices(parts, k=rng.randrange(4))) for _ in range(150)]
    plain = "".join(rng.choices([text for text in parts if text not in added], k=2000))
    words = " the same words, 1234 of them\n  again" * 4000
    long = [words, words[:70_000] + "e\u0301" + words[70_001:], *(words + each for each in added)]
    for texts in (short, [*short, *long, *short, plain], long[:1]):
        expected = [each.ids for each in theirs.encode_batch(texts)]
        assert [each.ids for each in ours.encode_batch(texts)] == expected
    one = Tokenizer.from_str(file)
    assert [one.encode(text).ids for text in short] == [e.ids for e in theirs.encode_batch(short)]
