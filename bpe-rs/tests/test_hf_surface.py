"""Every public name of the classes of `tokenizers` is there, or left out for a reason."""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

import hf_cases
import pytest
import tokenizers
from bpe_rs import hf

OURS = hf.Tokenizer.from_str(hf_cases.family("qwen2"))
THEIRS = tokenizers.Tokenizer.from_str(hf_cases.family("qwen2"))
# Objects of both, because attributes may be made on first use.
OBJECTS: dict[str, tuple[Any, Any]] = {
    "Tokenizer": (THEIRS, OURS),
    "Encoding": (THEIRS.encode("a b"), OURS.encode("a b")),
    "AddedToken": (tokenizers.AddedToken("<x>"), hf.AddedToken("<x>")),
    "DecodeStream": (tokenizers.decoders.DecodeStream([]), hf.DecodeStream([])),
    "BPE": (THEIRS.model, OURS.model),
    "ByteLevel": (THEIRS.pre_tokenizer[1], OURS.pre_tokenizer[1]),
    "NFC": (THEIRS.normalizer, OURS.normalizer),
    "decoder": (THEIRS.decoder, OURS.decoder),
    "post_processor": (THEIRS.post_processor, OURS.post_processor),
    "BpeTrainer": (tokenizers.trainers.BpeTrainer(), hf.BpeTrainer()),
}
OTHER_MODELS = "makes a model without a tokenizer; tokenizers.models.BPE does, and can be set"
LEFT_OUT: dict[str, dict[str, str]] = {
    "BPE": {
        "from_file": OTHER_MODELS,
        "read_file": OTHER_MODELS,
        "get_trainer": "hf.BpeTrainer() has the defaults",
    },
    "ByteLevel": {"alphabet": "tokenizers.pre_tokenizers.ByteLevel.alphabet() has no state"},
    "BpeTrainer": {
        "progress_format": "no progress is shown",
        "get_word_count": "words are not kept on the trainer",
    },
}
EVERYWHERE = {
    "custom": "components written in Python run in tokenizers only",
    "normalize": "changes a NormalizedString of tokenizers; normalize_str is there",
    "pre_tokenize": "changes a PreTokenizedString of tokenizers; pre_tokenize_str is there",
}


def names(thing: Any) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_name(name: str) -> None:
    theirs, ours = OBJECTS[name]
    left_out = LEFT_OUT.get(name, {}) | EVERYWHERE
    missing = {each for each in names(theirs) if not hasattr(ours, each)}
    assert missing <= left_out.keys()
    there = {each for each in LEFT_OUT.get(name, {}) if hasattr(ours, each)}
    assert not there, "no longer left out"


@pytest.mark.parametrize("name", ["Tokenizer", "Encoding"])
def test_every_parameter(name: str) -> None:
    theirs, ours = OBJECTS[name]
    for method in names(type(theirs)):
        expected = getattr(type(theirs), method)
        if not callable(expected):
            continue
        wanted = inspect.signature(expected).parameters.values()
        got = inspect.signature(getattr(type(ours), method)).parameters.values()
        assert [(p.name, p.default) for p in got] == [(p.name, p.default) for p in wanted], method


def test_the_values_of_every_property() -> None:
    for name, (theirs, ours) in OBJECTS.items():
        for each in sorted(names(theirs) & names(ours)):
            if each == "words":
                with pytest.warns(DeprecationWarning):
                    assert ours.words == ours.word_ids
                continue
            expected, got = getattr(theirs, each), getattr(ours, each)
            if isinstance(expected, list):
                assert list(map(str, got)) == list(map(str, expected)), (name, each)
            elif isinstance(expected, (int, str, dict, type(None))):
                assert got == expected, (name, each)


def test_copies_of_streams() -> None:
    ids = OURS.encode("Grüße 🎉 naïve").ids
    stream = hf.DecodeStream([])
    text = ""
    for id in ids:
        others = copy.copy(stream), copy.deepcopy(stream)
        got = stream.step(OURS, id)
        assert [other.step(OURS, id) for other in others] == [got, got]
        text += got or ""
    assert text == OURS.decode(ids)
    assert json.loads(OURS.to_str())["model"]["type"] == "BPE"


def test_parts_of_sequences() -> None:
    theirs = tokenizers.Tokenizer.from_str(hf_cases.family("qwen2"))
    ours = hf.Tokenizer.from_str(hf_cases.family("qwen2"))
    assert ours.pre_tokenizer and len(ours.pre_tokenizer) == 2
    text = "Two words, 12 a"
    for at in range(2):
        part = ours.pre_tokenizer[at]
        assert part.pre_tokenize_str(text) == theirs.pre_tokenizer[at].pre_tokenize_str(text)
    for tokenizer in (theirs, ours):
        tokenizer.pre_tokenizer[1].add_prefix_space = True
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(" "), "isolated")
        tokenizer.pre_tokenizer[0] = split
    assert ours.to_str() == theirs.to_str()
    assert ours.encode(text).tokens == theirs.encode(text).tokens
    with pytest.raises(IndexError):
        ours.pre_tokenizer[2]
    with pytest.raises(TypeError, match="sequence"):
        ours.normalizer[0]
