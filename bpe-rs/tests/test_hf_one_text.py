"""One text at a time: `Tokenizer.encode` and `tokenizer(text)` against the ways of a batch."""

from __future__ import annotations

import copy
import inspect
import pickle
import random
import threading
from collections.abc import Callable
from typing import Any

import hf_cases
import pytest
from bpe_rs.hf import Encoding, Tokenizer, from_pretrained_fast

LONG = "Some words, numbers 12345 and <|endoftext|> tokens. " * 200
TEXTS = ["", *(text for text in hf_cases.TEXTS if text), "a < b", "<|endoftext", LONG]
FAMILIES = ("gpt2", "llama3", "qwen2", "awkward_tokens")
PROPERTIES = (
    "ids",
    "type_ids",
    "attention_mask",
    "special_tokens_mask",
    "tokens",
    "offsets",
    "word_ids",
    "sequence_ids",
    "n_sequences",
    "overflowing",
)


@pytest.fixture(params=FAMILIES, scope="module")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.from_str(hf_cases.family(request.param))


def test_properties_in_any_order(tokenizer: Tokenizer) -> None:
    """Each is asked for several times, between others: the ids of a short text are given away."""
    rng = random.Random(21)
    for text in TEXTS:
        for add_special_tokens in (True, False):
            # A list of words is encoded in another way.
            expected = tokenizer.encode_batch([text, (text, "b")], False, add_special_tokens)[0]
            state = expected.__getstate__()
            got = tokenizer.encode(text, add_special_tokens=add_special_tokens)
            assert len(got) == len(expected)
            for name in rng.choices(PROPERTIES, k=12) + ["ids"] * 3:
                value = getattr(got, name)
                assert value == getattr(expected, name), name
                if isinstance(value, list):
                    value.append(7)  # nobody else has it
            assert got.__getstate__() == state


def test_changes_and_copies(tokenizer: Tokenizer) -> None:
    for text in (TEXTS[7], LONG):
        changes: list[Callable[[Encoding], Any]] = [
            lambda e: e.truncate(2),
            lambda e: e.pad(len(e) + 3, pad_id=5, pad_token="p"),
            lambda e: e.set_sequence_id(1),
        ]
        for ask_before in (True, False):
            for change in changes:
                expected = tokenizer.encode_batch([text, (text, "b")])[0]
                got = tokenizer.encode(text)
                if ask_before:
                    got.ids.clear()
                change(expected)
                change(got)
                assert got.ids == expected.ids
                assert got.__getstate__() == expected.__getstate__()
        got = tokenizer.encode(text)
        for other in (copy.deepcopy(got), pickle.loads(pickle.dumps(got))):  # noqa: S301
            assert other.ids == got.ids


def test_settings_of_threads(tokenizer: Tokenizer) -> None:
    """Of each thread its own, though threads take turns and one gets the number of another."""
    tokenizer = copy.deepcopy(tokenizer)
    whole = tokenizer.encode(TEXTS[7]).ids
    tokenizer.enable_truncation(4)
    turns = [threading.Event() for _ in range(2)]
    found: list[list[int]] = []

    def other() -> None:
        found.append(tokenizer.encode(TEXTS[7]).ids)
        tokenizer.no_truncation()
        found.append(tokenizer.encode(TEXTS[7]).ids)
        turns[0].set()
        turns[1].wait(10)
        found.append(tokenizer.encode(TEXTS[7]).ids)

    thread = threading.Thread(target=other)
    thread.start()
    turns[0].wait(10)
    cut = tokenizer.encode(TEXTS[7]).ids
    turns[1].set()
    thread.join()
    assert len(cut) == 4 and found == [cut, whole, whole]
    # Threads that end before the next begins often get the same number from the system.
    for length in range(5, 9):
        lengths: list[int] = []

        def fresh(length: int = length, lengths: list[int] = lengths) -> None:
            lengths.append(len(tokenizer.encode(TEXTS[7]).ids))
            tokenizer.enable_truncation(length)
            lengths.append(len(tokenizer.encode(TEXTS[7]).ids))

        thread = threading.Thread(target=fresh)
        thread.start()
        thread.join()
        assert lengths == [4, length]


def test_a_change_reaches_later_calls(tokenizer: Tokenizer) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    before = tokenizer.encode("a~~new~~b")
    ids = tokenizer.encode("a~~new~~b").ids
    tokenizer.add_tokens(["~~new~~"])
    assert tokenizer.token_to_id("~~new~~") in tokenizer.encode("a~~new~~b").ids
    # Also the ids that are encoded again.
    assert [before.ids, before.ids, before.ids] == [ids] * 3


def test_refusals(tokenizer: Tokenizer) -> None:
    refused: list[Any] = [(5,), (None,), (["a"],), ("\ud800",), ("a", 5), ("a", "\ud800")]
    for args in refused:
        with pytest.raises(TypeError):
            tokenizer.encode(*args)
    with pytest.raises(AttributeError):
        Tokenizer.__new__(Tokenizer).encode("a")
    assert "is_pretokenized" in inspect.signature(tokenizer.encode).parameters


class Text(str):
    """A str that is not exactly one."""


@pytest.mark.parametrize("family", FAMILIES)
def test_call_with_one_text(family: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    backend = Tokenizer.from_str(hf_cases.family(family))
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|pad|>")
    plain.model_max_length = 300
    fast = from_pretrained_fast(plain)
    assert "__call__" in type(fast).__dict__
    names = [["input_ids", "attention_mask"], ["input_ids"], ["token_type_ids", "attention_mask"]]
    for model_input_names in names:
        plain.model_input_names = fast.model_input_names = model_input_names
        for text in (*TEXTS, Text("a b")):
            expected, got = plain(text), fast(text)
            assert dict(got) == dict(expected) and list(got) == list(expected)
            assert type(got.data) is dict
            assert got.tokens() == expected.tokens() and got.n_sequences == expected.n_sequences
            assert got[0].__getstate__() == expected[0].__getstate__()
            got["input_ids"].append(7)
            assert fast(text)["input_ids"] == expected["input_ids"]
    calls: list[dict[str, Any]] = [
        {"text": "a b"},
        {"text": "a b", "text_target": "c d"},
        {"text_target": "c d"},
        {"text": "a b", "return_offsets_mapping": True},
        {"text": "a b", "return_overflowing_tokens": True, "truncation": True, "max_length": 2},
    ]
    for kwargs in calls:
        assert dict(fast(**kwargs)) == dict(plain(**kwargs))
    for text in ("\ud800", 5, None, b"a"):
        for tokenizer in (plain, fast):
            with pytest.raises((TypeError, ValueError)):
                tokenizer(text)


def test_a_class_with_properties_keeps_its_call() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

    class Short(transformers.PreTrainedTokenizerFast):
        @property
        def model_input_names(self) -> list[str]:
            return ["input_ids"]

        @model_input_names.setter
        def model_input_names(self, value: list[str]) -> None:
            self.__dict__["model_input_names"] = ["token_type_ids"]

    backend = Tokenizer.from_str(hf_cases.family("gpt2"))
    plain = Short(tokenizer_object=backend)
    assert dict(from_pretrained_fast(plain)("a b")) == dict(plain("a b"))
    assert list(plain("a b")) == ["input_ids"]
