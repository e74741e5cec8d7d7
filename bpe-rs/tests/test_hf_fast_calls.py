"""`from_pretrained_fast`: its calls without `Encoding` objects against the ordinary way."""

from __future__ import annotations

import copy
import itertools
import logging
import pickle
import random
from collections.abc import Iterator
from typing import Any

import hf_cases
import numpy as np
import pytest
from bpe_rs.hf import Encoding, Tokenizer, from_pretrained_fast

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
from bpe_rs.hf._batch_encoding import LazyBatchEncoding  # noqa: E402
from transformers import BatchEncoding  # noqa: E402

TEXTS = [text for text in hf_cases.TEXTS if text]
SPECIAL = {
    "gpt2": {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"},
    "llama3": {"eos_token": "<|eot_id|>", "pad_token": "<|end_of_text|>"},
    "qwen2": {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    "deepseek_v3": {"eos_token": "<｜end▁of▁sentence｜>", "pad_token": "<｜end▁of▁sentence｜>"},
    "awkward_tokens": {"pad_token": "<|pad|>"},
}
# Every value that an argument of a call takes here; the first is the default.
VALUES: dict[str, list[Any]] = {
    "add_special_tokens": [True, False],
    "padding": [False, True, "longest", "max_length"],
    "truncation": [None, True, "only_first", "only_second", False],
    "max_length": [None, 0, 1, 2, 9, 64],
    "stride": [0, 1, 8],
    "pad_to_multiple_of": [None, 8],
    "padding_side": [None, "left", "right"],
    "return_tensors": [None, "np", "pt"],
    "return_token_type_ids": [None, True, False],
    "return_attention_mask": [None, True, False],
    "return_special_tokens_mask": [False, True],
    "return_length": [False, True],
    "split_special_tokens": [False, True],
    "return_overflowing_tokens": [False, True],
    "return_offsets_mapping": [False, True],
    "verbose": [True, False],
}


@pytest.fixture(params=SPECIAL, scope="module")
def both(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The ordinary way and the fast one, on the same back end."""
    name = request.param
    backend = Tokenizer.from_str(hf_cases.family(name))
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL[name])
    plain.model_max_length = 300
    return plain, from_pretrained_fast(plain)


def inputs(rng: random.Random) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A text, a batch, a pair, words, now and then something that is refused."""
    some = rng.sample(TEXTS, rng.randint(1, 6))
    other = rng.sample(TEXTS, len(some))
    words = [text.split(" ") for text in some]
    split = {"is_split_into_words": True}
    return rng.choice(
        [
            ((some,), {}),
            ((some,), {}),
            ((tuple(some),), {}),
            ((some[0],), {}),
            ((some[0], other[0]), {}),
            ((some, other), {}),
            ((list(zip(some, other, strict=True)),), {}),
            (([list(pair) for pair in zip(some, other, strict=True)],), {}),
            ((words,), split),
            ((words[0],), split),
            ((words, [text.split(" ") for text in other]), split),
            ((words[0], words[-1]), split),
            (([*some, ""],), {}),
            ((["", ""],), {}),
            (("",), {}),
            ((some[0], ""), {}),
            (([some[0], (some[0], other[0])],), {}),
            # Refused.
            rng.choice(
                [
                    (([],), {}),
                    (([some[0], 5],), {}),
                    ((5,), {}),
                    ((some, [*other, "x"]), {}),
                    ((some, "x"), {}),
                    ((some[0], 5), {}),
                    ((["\ud800"],), {}),
                    (([np.array(["a"])],), split),
                ]
            ),
        ]
    )


def arguments(rng: random.Random) -> dict[str, Any]:
    chosen = {name: rng.choice(values) for name, values in VALUES.items() if rng.random() < 0.3}
    for name in ("return_overflowing_tokens", "return_offsets_mapping"):
        if rng.random() < 0.8:  # the ordinary way
            chosen.pop(name, None)
    return chosen


def outcome(tokenizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result or the error, and the settings that the call leaves behind."""
    try:
        got = tokenizer(*args, **kwargs)
    except Exception as error:
        got = type(error), str(error)
    backend = tokenizer.backend_tokenizer
    return got, backend.padding, backend.truncation, backend.encode_special_tokens


def assert_same(expected: Any, got: Any) -> None:
    if not isinstance(expected, BatchEncoding):
        assert got == expected
        return
    assert isinstance(got, BatchEncoding) and got.is_fast == expected.is_fast
    assert list(got) == list(expected)
    for key, value in expected.items():
        assert type(got[key]) is type(value)
        if isinstance(value, list):
            assert got[key] == value
        else:
            assert got[key].shape == value.shape and got[key].dtype == value.dtype
            assert all(map(np.array_equal, got[key], value))  # rows, because they may be ragged
    assert got.n_sequences == expected.n_sequences
    if not expected.is_fast:
        return
    rows = [[encoding.ids for encoding in batch.encodings or ()] for batch in (got, expected)]
    assert rows[0] == rows[1]
    assert got[-1].__getstate__() == expected[-1].__getstate__()


def test_random_calls(both: tuple[Any, Any]) -> None:
    plain, fast = both
    rng = random.Random(20)
    fast_calls = 0
    for _ in range(150):
        args, split = inputs(rng)
        kwargs = {**split, **arguments(rng)}
        expected, *settings = outcome(plain, args, kwargs)
        got, *got_settings = outcome(fast, args, kwargs)
        fast_calls += isinstance(got, LazyBatchEncoding)
        try:
            assert_same(expected, got)
            assert got_settings == settings
        except AssertionError as error:
            raise AssertionError(f"{args}, {kwargs}: {error}") from error
    assert fast_calls > 50


def pairs_of_values() -> Iterator[dict[str, Any]]:
    """Every pair of values of two arguments."""
    for (name, values), (other, others) in itertools.combinations(VALUES.items(), 2):
        for value, second in itertools.product(values[1:], others[1:]):
            yield {name: value, other: second}


def test_pairs_of_arguments() -> None:
    backend = Tokenizer.from_str(hf_cases.family("llama3"))
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL["llama3"])
    fast = from_pretrained_fast(plain)
    batch = [TEXTS[7], TEXTS[5], "a"]
    for kwargs in pairs_of_values():
        for args in ((batch,), (batch, batch[::-1])):
            expected, got = outcome(plain, args, kwargs), outcome(fast, args, kwargs)
            assert got[1:] == expected[1:], kwargs
            assert_same(expected[0], got[0])


def test_methods_of_the_result(both: tuple[Any, Any]) -> None:
    plain, fast = both
    expected, got = plain(TEXTS, TEXTS[::-1]), fast(TEXTS, TEXTS[::-1])
    assert type(got) is LazyBatchEncoding
    for row in range(len(TEXTS)):
        for name in ("tokens", "word_ids", "sequence_ids"):
            assert getattr(got, name)(row) == getattr(expected, name)(row)
        for at in (1, 2):
            for name in ("token_to_chars", "token_to_word", "token_to_sequence"):
                assert getattr(got, name)(row, at) == getattr(expected, name)(row, at)
        assert got.char_to_token(row, 0) == expected.char_to_token(row, 0)
    assert isinstance(got[0], Encoding) and got[0].ids == got["input_ids"][0]
    assert len(got[:2]) == 2
    assert fast(TEXTS).input_ids == plain(TEXTS).input_ids
    assert fast.tokenize(TEXTS[7]) == plain.tokenize(TEXTS[7])
    assert fast.encode(TEXTS[7]) == plain.encode(TEXTS[7])
    assert_same(*(t.pad(t(TEXTS), padding=True, return_tensors="np") for t in both))


def test_the_result_is_of_its_call(both: tuple[Any, Any]) -> None:
    """Later changes of the batch, the settings and the tokenizer do not reach it."""
    _, fast = both
    fast = copy.deepcopy(fast)
    words = [["some", "words"], ["more"]]
    got = fast(words, is_split_into_words=True, truncation=True, max_length=4)
    ids = [encoding.ids for encoding in copy.deepcopy(got).encodings]
    assert ids == got["input_ids"]
    got = fast(words, is_split_into_words=True, truncation=True, max_length=4)
    words[0][0] = "other"
    words.clear()
    fast(["a"], padding="max_length", max_length=20)
    fast.add_tokens(["some", "more"])
    assert [encoding.ids for encoding in got.encodings] == got["input_ids"] == ids


def test_copies_and_pickles(both: tuple[Any, Any]) -> None:
    plain, fast = both
    expected = plain(TEXTS, return_special_tokens_mask=True)
    for tokenizer in (fast, copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):  # noqa: S301
        got = tokenizer(TEXTS, return_special_tokens_mask=True)
        assert type(got) is LazyBatchEncoding
        assert type(tokenizer) is type(fast) and isinstance(tokenizer, type(plain))
        assert_same(expected, got)
        assert_same(expected, copy.copy(got))
        for batch in (copy.deepcopy(got), pickle.loads(pickle.dumps(got))):  # noqa: S301
            batch._n_sequences = 1  # which `BatchEncoding` does not keep
            assert_same(expected, batch)
    assert type(pickle.loads(pickle.dumps(got))) is BatchEncoding  # noqa: S301
    assert type(copy.copy(got)) is LazyBatchEncoding


class Told(logging.Handler):
    """Keeps messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_a_long_row_is_told_once(both: tuple[Any, Any]) -> None:
    logger = logging.getLogger("transformers.tokenization_utils_base")
    told = [Told(), Told()]
    for tokenizer, handler in zip(both, told, strict=True):
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.deprecation_warnings.clear()
        logger.addHandler(handler)
        for _ in range(2):
            tokenizer(["a", "a " * 400, "a " * 500])
            tokenizer(["a " * 600], verbose=False)
        logger.removeHandler(handler)
    assert told[0].messages == told[1].messages
    assert len(told[0].messages) == 1 and "sequence length" in told[0].messages[0]


def test_a_subclass_with_its_own_method_keeps_it() -> None:
    class Mine(transformers.PreTrainedTokenizerFast):
        def _encode_plus(self, *args: Any, **kwargs: Any) -> Any:
            return BatchEncoding({"input_ids": [7]})

    backend = Tokenizer.from_str(hf_cases.family("gpt2"))
    assert from_pretrained_fast(Mine(tokenizer_object=backend))("x") == {"input_ids": [7]}


def test_one_text(both: tuple[Any, Any]) -> None:
    plain, fast = both
    for text in [*TEXTS, "", "a " * 400]:
        assert_same(plain(text), fast(text))
        for kwargs in ({"split_special_tokens": True}, {"truncation": True, "max_length": 7}):
            assert_same(plain(text, **kwargs), fast(text, **kwargs))
            assert_same(plain(text), fast(text))
    for tokenizer in both:
        with pytest.raises(ValueError, match="text"):
            tokenizer()
    fast = copy.deepcopy(fast)
    fast.backend_tokenizer.enable_truncation(3)
    assert_same(plain(TEXTS[7]), fast(TEXTS[7]))
    assert fast.backend_tokenizer.truncation is None


def test_classes() -> None:
    backend = Tokenizer.from_str(hf_cases.family("gpt2"))
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    fast = from_pretrained_fast(plain)
    assert type(fast) is type(from_pretrained_fast(fast)) is not type(plain)
    assert repr(fast) == repr(plain) and type(fast).__module__ == type(plain).__module__
    # What the class makes by itself runs on the engine of `tokenizers`, in the ordinary way.
    theirs = type(fast)(tokenizer_object=hf_cases.gpt2())
    assert type(theirs("a b")) is BatchEncoding and theirs("a b") == fast("a b")


def test_datasets_map() -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    backend = Tokenizer.from_str(hf_cases.family("llama3"))
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL["llama3"])
    fast = from_pretrained_fast(plain)
    data = datasets.Dataset.from_dict({"text": TEXTS * 3})
    kwargs = {"padding": "max_length", "truncation": True, "max_length": 16}
    maps = [
        data.map(lambda rows, t=t: t(rows["text"], **kwargs), batched=True, batch_size=8).to_dict()
        for t in (plain, fast)
    ]
    assert maps[0] == maps[1] and len(maps[1]["input_ids"][0]) == 16
