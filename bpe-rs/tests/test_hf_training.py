"""`Tokenizer.train` on our trainer against `tokenizers`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import hf_cases
import pytest
import tokenizers
from bpe_rs import hf
from tokenizers import AddedToken, Regex, models, normalizers
from tokenizers import pre_tokenizers as pre

TEXTS = [*list(topics.values())[:6], " ".join([hf_cases.WORDS] * 6), "", " \n\t", "a\r\nb"]
BYTES = pre.ByteLevel.alphabet()
PIPELINES: dict[str, tuple[Any, Any]] = {
    "gpt2": (None, pre.ByteLevel(add_prefix_space=False)),
    "prefix_space": (None, pre.ByteLevel(add_prefix_space=True)),
    "nfc": (normalizers.NFC(), pre.ByteLevel(add_prefix_space=False)),
    "llama3": (None, pre.Sequence([hf_cases.split(hf_cases.LLAMA3), hf_cases.last()])),
    "digits": (None, pre.Sequence([pre.Digits(True), pre.ByteLevel(add_prefix_space=False)])),
    "whitespace": (normalizers.Lowercase(), pre.Whitespace()),
    "metaspace": (None, pre.Metaspace()),
    "prepend": (
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        pre.Split(Regex("(?<=[a-z]) "), "isolated"),
    ),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"vocab_size": 500},
    "alphabet": {"vocab_size": 600, "initial_alphabet": [*BYTES, "", "xyz"]},
    "special": {
        "vocab_size": 400,
        "special_tokens": ["<s>", AddedToken("</s>", lstrip=True), "<s>"],
    },
    "a character": {"vocab_size": 300, "special_tokens": ["e", "<s>", "t"]},
    "frequency": {"vocab_size": 5000, "min_frequency": 4},
    "small": {"vocab_size": 10},
    "all": {"vocab_size": 30_000},
}


def empty(pipeline: str) -> str:
    """A `tokenizer.json` without a vocabulary."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    normalizer, pre_tokenizer = PIPELINES[pipeline]
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    if isinstance(pre_tokenizer, (pre.ByteLevel, pre.Sequence)):
        file = json.loads(tokenizer.to_str())
        file["model"]["unk_token"] = None
        return json.dumps(file)
    return tokenizer.to_str()


def both(file: str) -> tuple[tokenizers.Tokenizer, hf.Tokenizer]:
    return tokenizers.Tokenizer.from_str(file), hf.Tokenizer.from_str(file)


def ordered(text: str) -> Any:
    """A `tokenizer.json` as an object."""
    return json.loads(text)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_same_files(pipeline: str, options: str) -> None:
    theirs, ours = both(empty(pipeline))
    trainer = tokenizers.trainers.BpeTrainer(show_progress=False, **OPTIONS[options])
    theirs.train_from_iterator(TEXTS, trainer)
    ours.train_from_iterator(iter([TEXTS[:2], *TEXTS[2:]]), trainer)
    assert ordered(ours.to_str()) == ordered(theirs.to_str())
    assert ours.encode(TEXTS[0][:500]).ids == theirs.encode(TEXTS[0][:500]).ids


def test_our_options_are_theirs() -> None:
    theirs, ours = both(empty("gpt2"))
    options = {"vocab_size": 350, "min_frequency": 2, "special_tokens": ["<s>"]}
    theirs.train_from_iterator(TEXTS, tokenizers.trainers.BpeTrainer(**options))
    ours.train_from_iterator(TEXTS, hf.BpeTrainer(**options))
    assert ordered(ours.to_str()) == ordered(theirs.to_str())


def test_random_words() -> None:
    """Many ties between pairs."""
    rng = random.Random(7)
    for _ in range(40):
        words = [
            "".join(rng.choices("abcdé中", k=rng.randint(1, 9))) for _ in range(rng.randint(1, 40))
        ]
        theirs, ours = both(empty("whitespace"))
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=60, show_progress=False)
        for tokenizer in (theirs, ours):
            tokenizer.train_from_iterator([" ".join(words)], trainer)
        assert ordered(ours.to_str()) == ordered(theirs.to_str()), words


def test_a_limited_alphabet() -> None:
    text = "".join(letter * count for count, letter in enumerate("zyxwvut", 1)) + " zt"
    for limit in (0, 1, 3, 5, 99):
        theirs, ours = both(empty("whitespace"))
        trainer = tokenizers.trainers.BpeTrainer(limit_alphabet=limit, show_progress=False)
        for tokenizer in (theirs, ours):
            tokenizer.train_from_iterator([text], trainer)
        assert ordered(ours.to_str()) == ordered(theirs.to_str()), limit


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("low lower\r\nlowest\n\nnaïve\rcafé\n".encode() * 3)
    theirs, ours = both(empty("gpt2"))
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=60, show_progress=False)
    theirs.train([str(path)], trainer)
    ours.train([path], trainer)
    assert ordered(ours.to_str()) == ordered(theirs.to_str())


def test_training_again_keeps_added_tokens() -> None:
    theirs, ours = both(hf_cases.family("qwen2"))
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, show_progress=False, special_tokens=["<new>", "<|im_end|>"]
    )
    for tokenizer in (theirs, ours):
        tokenizer.train_from_iterator(TEXTS, trainer)
    assert ordered(ours.to_str()) == ordered(theirs.to_str())


def test_longest_tokens() -> None:
    theirs, ours = both(empty("whitespace"))
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=80, max_token_length=3, show_progress=False)
    for tokenizer in (theirs, ours):
        tokenizer.train_from_iterator(TEXTS[6:7], trainer)
    assert ordered(ours.to_str()) == ordered(theirs.to_str())


def test_refusals() -> None:
    ours = hf.Tokenizer.from_str(empty("whitespace"))
    with pytest.raises(ValueError, match="special tokens"):
        ours.train_from_iterator(["ab ab"], hf.BpeTrainer(special_tokens=["ab"]))
    with pytest.raises(TypeError, match="got int"):
        ours.train_from_iterator([5], hf.BpeTrainer())
