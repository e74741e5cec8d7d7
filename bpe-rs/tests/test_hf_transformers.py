"""`transformers` on our tokenizer: every call gives the same result as on Hugging Face's."""

from __future__ import annotations

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hf_cases
import hf_families
import numpy as np
import pytest
import tokenizers
from bpe_rs.hf import Tokenizer, from_pretrained_fast

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

TEXTS = [text for text in hf_cases.TEXTS if text]
PAIRS = TEXTS[5:] + TEXTS[:5]
FAMILIES = ["gpt2", "llama3", "qwen2", "deepseek_v3", "awkward_tokens", "starcoder"]

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make(backend: Any, name: str) -> Any:
    special = {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}
    if name == "deepseek_v3":
        special = {"bos_token": "<｜begin▁of▁sentence｜>", "pad_token": "<｜end▁of▁sentence｜>"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


Both = tuple[Any, Any]


def both(name: str) -> Both:
    text = hf_cases.family(name)
    return make(tokenizers.Tokenizer.from_str(text), name), make(Tokenizer.from_str(text), name)


@pytest.fixture(params=FAMILIES, scope="module")
def pair(request: pytest.FixtureRequest) -> Both:
    return both(request.param)


def same(theirs: Any, ours: Any, *args: Any, **kwargs: Any) -> None:
    expected, got = theirs(*args, **kwargs), ours(*args, **kwargs)
    assert list(got) == list(expected)
    for key in expected:
        assert type(got[key]) is type(expected[key])
        assert (
            np.array_equal(np.array(got[key]), np.array(expected[key]))
            if kwargs.get("return_tensors")
            else got[key] == expected[key]
        ), (key, args, kwargs)
    for index in range(len(expected.encodings)):
        for name in ("tokens", "word_ids", "sequence_ids"):
            assert getattr(got, name)(index) == getattr(expected, name)(index)


EVERYTHING = {
    "return_token_type_ids": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "return_length": True,
}

CALLS: list[dict[str, Any]] = [
    {},
    {"add_special_tokens": False},
    EVERYTHING,
    {"padding": True},
    {"padding": "max_length", "max_length": 64, "truncation": True},
    {"padding": True, "pad_to_multiple_of": 8, "padding_side": "left", **EVERYTHING},
    {"truncation": True, "max_length": 9},
    {"truncation": "only_first", "max_length": 300},
    {
        "truncation": True,
        "max_length": 14,
        "stride": 3,
        "return_overflowing_tokens": True,
        **EVERYTHING,
    },
    {"truncation": True, "max_length": 12, "padding": True, "return_tensors": "np"},
    {"truncation": True, "max_length": 12, "padding": True, "return_tensors": "pt"},
    {"split_special_tokens": True},
]


@pytest.mark.parametrize("kwargs", CALLS, ids=[",".join(call) or "plain" for call in CALLS])
def test_call(pair: Both, kwargs: dict[str, Any]) -> None:
    same(*pair, TEXTS, **kwargs)
    same(*pair, TEXTS[7], **kwargs)
    same(*pair, TEXTS, PAIRS, **kwargs)
    same(*pair, TEXTS[8], TEXTS[9], **kwargs)
    words = [text.split(" ") for text in TEXTS]
    same(*pair, words, is_split_into_words=True, **kwargs)


def test_encode_and_decode(pair: Both) -> None:
    theirs, ours = pair
    for text in TEXTS:
        ids = theirs.encode(text)
        assert ours.encode(text) == ids
        assert ours.tokenize(text) == theirs.tokenize(text)
        for skip in (True, False):
            assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(
                ids, skip_special_tokens=skip
            )
        tokens = theirs.convert_ids_to_tokens(ids)
        assert ours.convert_ids_to_tokens(ids) == tokens
        assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
        assert ours.convert_tokens_to_string(tokens) == theirs.convert_tokens_to_string(tokens)
    rows = [theirs.encode(text) for text in TEXTS]
    assert ours.batch_decode(rows) == theirs.batch_decode(rows)
    assert ours.decode(np.array(rows[0])) == theirs.decode(np.array(rows[0]))
    assert ours.convert_tokens_to_ids("no such token") == theirs.convert_tokens_to_ids(
        "no such token"
    )


def test_properties(pair: Both) -> None:
    theirs, ours = pair
    assert len(ours) == len(theirs) and ours.vocab_size == theirs.vocab_size
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_added_vocab() == theirs.get_added_vocab()
    assert ours.added_tokens_decoder == theirs.added_tokens_decoder
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.is_fast and repr(ours) == repr(theirs)
    for is_pair in (True, False):
        assert ours.num_special_tokens_to_add(is_pair) == theirs.num_special_tokens_to_add(is_pair)


def test_added_tokens() -> None:
    theirs, ours = both("qwen2")
    for tokenizer in (theirs, ours):
        tokenizer.add_tokens(["<new>", transformers.AddedToken("<wide>", lstrip=True, rstrip=True)])
        tokenizer.add_special_tokens({"cls_token": "<cls>", "extra_special_tokens": ["<one>"]})
    assert ours.get_added_vocab() == theirs.get_added_vocab()
    text = "a<new>b  <wide>  c<cls> <one> d"
    same(theirs, ours, text, **EVERYTHING)
    assert ours.decode(ours.encode(text), skip_special_tokens=True) == theirs.decode(
        theirs.encode(text), skip_special_tokens=True
    )


def test_bos_and_eos_can_be_switched_on() -> None:
    theirs, ours = both("gpt2")
    for tokenizer in (theirs, ours):
        tokenizer.add_special_tokens({"bos_token": "<bos>"})
        tokenizer.add_bos_token = True
        tokenizer.add_eos_token = True
    same(theirs, ours, TEXTS, PAIRS, **EVERYTHING)


@pytest.mark.parametrize("generation", [True, False])
def test_chat_template(pair: Both, generation: bool) -> None:
    theirs, ours = pair
    chat = [
        {"role": "user", "content": "Hi, wörld <|im_end|>"},
        {"role": "assistant", "content": "Hello\n\nthere"},
    ]
    for kwargs in (
        {"tokenize": False},
        {"tokenize": True, "return_dict": False},
        {"tokenize": True, "return_dict": True, "padding": True},
        {"tokenize": True, "return_dict": False, "truncation": True, "max_length": 12},
    ):
        expected = theirs.apply_chat_template(chat, add_generation_prompt=generation, **kwargs)
        got = ours.apply_chat_template(chat, add_generation_prompt=generation, **kwargs)
        assert (dict(got) == dict(expected)) if kwargs.get("return_dict") else got == expected


def test_save_and_load(pair: Both, tmp_path: Path) -> None:
    theirs, ours = pair
    for name, tokenizer in (("theirs", theirs), ("ours", ours)):
        tokenizer.save_pretrained(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == files
    for file in files:
        expected = (tmp_path / "theirs" / file).read_bytes()
        assert (tmp_path / "ours" / file).read_bytes() == expected
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    same(loaded, ours, TEXTS, **EVERYTHING)
    again = from_pretrained_fast(loaded)
    same(loaded, again, TEXTS, PAIRS, **EVERYTHING)


def test_taking_over(pair: Both) -> None:
    theirs, _ = pair
    before = theirs.backend_tokenizer
    ours = from_pretrained_fast(theirs)
    assert isinstance(ours, type(theirs)) and isinstance(ours.backend_tokenizer, Tokenizer)
    assert type(ours).__name__ == type(theirs).__name__
    assert theirs.backend_tokenizer is before
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.chat_template == theirs.chat_template
    same(theirs, ours, TEXTS, PAIRS, **EVERYTHING)
    twice = from_pretrained_fast(ours)
    same(theirs, twice, TEXTS, **EVERYTHING)


def test_taking_over_what_cannot_be() -> None:
    wordpiece = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordPiece({"a": 0}, unk_token="a"))
    )
    with pytest.raises(ValueError, match="WordPiece"):
        from_pretrained_fast(wordpiece)
    with pytest.raises(TypeError, match="back end"):
        from_pretrained_fast("gpt2")


def test_copies_and_pickles(pair: Both) -> None:
    theirs, ours = pair
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
        assert isinstance(other.backend_tokenizer, Tokenizer)
        same(theirs, other, TEXTS, **EVERYTHING)
    batch = ours(TEXTS, truncation=True, max_length=9, stride=2, return_overflowing_tokens=True)
    revived = pickle.loads(pickle.dumps(batch))  # noqa: S301
    assert dict(revived) == dict(batch)
    assert revived.tokens(3) == batch.tokens(3) and revived.word_ids(3) == batch.word_ids(3)


def test_gpt2_class(shared_dir: Path) -> None:
    """The class that `AutoTokenizer` returns for GPT-2."""
    file = str(shared_dir / "vocab" / "gpt2-tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=file, eos_token="<|endoftext|>")
    ours = from_pretrained_fast(theirs)
    same(theirs, ours, TEXTS, PAIRS, **EVERYTHING)
    assert len(ours) == 50257


def test_clip_class() -> None:
    """Its classes replace the method `decode` of their back end."""
    model = json.loads(hf_families.family("clip"))["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    cls: Any = transformers.CLIPTokenizer
    theirs = cls(vocab=model["vocab"], merges=merges)
    ours = from_pretrained_fast(theirs)
    for text in hf_cases.TEXTS:
        ids = theirs(text)["input_ids"]
        assert ours(text)["input_ids"] == ids
        assert ours.decode(ids) == theirs.decode(ids)
        assert ours.batch_decode([ids], True) == theirs.batch_decode([ids], True)
    assert ours.decode(ours("hello  you")["input_ids"], True) == "hello you"


def test_eight_threads_truncate_independently() -> None:
    """Each thread's results are those that it gets alone, whatever settings other threads use."""
    _, ours = both("llama3")
    text = " ".join(TEXTS[3:])
    alone = [ours(text, **kwargs)["input_ids"] for kwargs in settings_of_threads()]

    def work(thread: int) -> int:
        kwargs = settings_of_threads()[thread]
        return sum(ours(text, **kwargs)["input_ids"] != alone[thread] for _ in range(150))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [0] * 8


def settings_of_threads() -> list[dict[str, Any]]:
    cut = [{"truncation": True, "max_length": 5 + 3 * thread} for thread in range(4)]
    fill = [{"padding": "max_length", "max_length": 600 + thread} for thread in range(2)]
    return [*cut, *fill, {}, {"split_special_tokens": True}]
