"""`bpe_rs.hf.Tokenizer` as an object: settings, threads, pickles, added tokens, components."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hf_cases
import pytest
import tokenizers
from bpe_rs.hf import AddedToken, Encoding, Tokenizer
from test_hf_parity import both, fields

LONG = "one two three four five six seven eight nine ten " * 20


@pytest.fixture
def ours() -> Tokenizer:
    return Tokenizer.from_str(hf_cases.family("gpt2"))


def test_settings_read_back() -> None:
    theirs, ours = both("gpt2")
    for name, kwargs in [
        ("enable_truncation", {"max_length": 5}),
        ("enable_truncation", {"max_length": 5, "stride": 2, "direction": "left"}),
        ("enable_truncation", {"max_length": 9, "strategy": "only_second"}),
        ("enable_padding", {}),
        ("enable_padding", {"length": 7, "pad_id": 3, "pad_token": "<p>", "pad_type_id": 1}),
        ("enable_padding", {"direction": "left", "pad_to_multiple_of": 8}),
        ("no_padding", {}),
        ("no_truncation", {}),
    ]:
        for tokenizer in (theirs, ours):
            getattr(tokenizer, name)(**kwargs)
        assert ours.truncation == theirs.truncation and ours.padding == theirs.padding
        assert ours.to_str() == theirs.to_str()
        assert Tokenizer.from_str(ours.to_str()).to_str() == theirs.to_str()


@pytest.mark.parametrize(
    ("name", "kwargs", "error"),
    [
        ("enable_truncation", {"max_length": 3, "strategy": "foo"}, ValueError),
        ("enable_truncation", {"max_length": 3, "direction": "up"}, ValueError),
        ("enable_truncation", {"max_length": -1}, OverflowError),
        ("enable_truncation", {"max_length": "3"}, TypeError),
        ("enable_truncation", {}, TypeError),
        ("enable_padding", {"direction": "up"}, ValueError),
        ("enable_padding", {"pad_id": -1}, OverflowError),
        ("enable_padding", {"pad_token": 3}, TypeError),
    ],
)
def test_wrong_settings(
    ours: Tokenizer, name: str, kwargs: dict[str, Any], error: type[Exception]
) -> None:
    theirs = tokenizers.Tokenizer.from_str(hf_cases.family("gpt2"))
    with pytest.raises(error):
        getattr(theirs, name)(**kwargs)
    with pytest.raises(error):
        getattr(ours, name)(**kwargs)


@pytest.mark.parametrize(
    "args",
    [
        (5,),
        (None,),
        (["a", "b"],),
        ("a", 5),
        ("a", "b", True),
        (["a", 5], None, True),
        ("\ud800",),
    ],
)
def test_wrong_input(ours: Tokenizer, args: tuple[Any, ...]) -> None:
    theirs = tokenizers.Tokenizer.from_str(hf_cases.family("gpt2"))
    with pytest.raises(TypeError):
        theirs.encode(*args)
    with pytest.raises(TypeError):
        ours.encode(*args)


@pytest.mark.parametrize(
    ("batch", "is_pretokenized"),
    [([5], False), ([("a", "b", "c")], False), ("abc", False), (["ab"], True), (7, False)],
)
def test_wrong_batches(ours: Tokenizer, batch: Any, is_pretokenized: bool) -> None:
    theirs = tokenizers.Tokenizer.from_str(hf_cases.family("gpt2"))
    with pytest.raises(TypeError):
        theirs.encode_batch(batch, is_pretokenized)
    with pytest.raises(TypeError):
        ours.encode_batch(batch, is_pretokenized)


def test_wrong_ids(ours: Tokenizer) -> None:
    with pytest.raises(OverflowError):
        ours.decode([-1])
    with pytest.raises(TypeError):
        ours.decode(["a"])  # type: ignore[list-item]


def test_truncation_of_one_thread_is_not_anothers(ours: Tokenizer) -> None:
    """Eight concurrent threads, each with its own length, on one tokenizer."""
    whole = ours.encode(LONG).ids
    barrier = threading.Barrier(8)

    def work(thread: int) -> list[int]:
        barrier.wait()
        wrong = []
        for turn in range(200):
            length = 3 + (thread * 7 + turn) % 40
            if thread % 2:
                ours.enable_truncation(length)
                ours.enable_padding(length=50, pad_id=thread)
                got = ours.encode(LONG).ids
                expected = whole[:length] + [thread] * (50 - length)
            else:
                got = ours.encode_batch([LONG])[0].ids
                expected = whole
            if got != expected:
                wrong.append(turn)
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[]] * 8
    assert ours.truncation is None and ours.padding is None


def test_a_new_thread_begins_with_the_makers_settings(ours: Tokenizer) -> None:
    ours.enable_truncation(4)
    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(ours.encode, LONG).result()) == 4
        pool.submit(ours.no_truncation).result()
        assert len(pool.submit(ours.encode, LONG).result()) > 4
    assert len(ours.encode(LONG)) == 4


def test_tokens_added_while_others_encode(ours: Tokenizer) -> None:
    plain = ours.encode("x<new-3>y").ids
    stop = threading.Event()

    def read() -> set[int]:
        seen = set()
        while not stop.is_set():
            seen.add(len(ours.encode("x<new-3>y")))
        return seen

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for at in range(20):
            ours.add_tokens([f"<new-{at}>"])
        stop.set()
        for reader in readers:
            assert reader.result() <= {3, len(plain)}
    assert len(ours.encode("x<new-3>y")) == 3


@pytest.mark.parametrize("name", ["llama3", "awkward_tokens"])
def test_copies(name: str) -> None:
    theirs, ours = both(name)
    ours.enable_truncation(7, stride=2)
    ours.encode_special_tokens = True
    for other in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
        assert other.to_str() == ours.to_str()
        assert other.encode_special_tokens
        assert other.truncation == ours.truncation
        other.no_truncation()
        other.add_tokens(["<only-there>"])
        assert ours.truncation is not None and ours.token_to_id("<only-there>") is None
    state = pickle.loads(pickle.dumps(theirs))  # noqa: S301
    assert Tokenizer.from_str(state.to_str()).to_str() == theirs.to_str()
    assert Tokenizer.from_buffer(ours.to_str().encode()).to_str() == ours.to_str()


def test_encodings_pickle() -> None:
    theirs, ours = both("deepseek_v3")
    for tokenizer in (theirs, ours):
        tokenizer.enable_truncation(9, stride=1)
    encoding = ours.encode(LONG, "a pair")
    revived = pickle.loads(pickle.dumps(encoding))  # noqa: S301
    assert type(revived) is Encoding
    expected = fields(theirs.encode(LONG, "a pair"))
    assert fields(revived) == fields(encoding) == expected
    # It has all methods of an encoding.
    revived.truncate(4)
    encoding.truncate(4)
    assert fields(revived) == fields(encoding)
    assert fields(copy.deepcopy(encoding)) == fields(encoding)
    assert repr(encoding) == repr(theirs.encode("a b")).replace("=2", f"={len(encoding)}")


def test_added_tokens() -> None:
    theirs, ours = both("qwen2")
    steps: list[tuple[str, list[Any]]] = [
        ("add_tokens", ["<a>", "the", "<a>", ""]),
        ("add_tokens", [tokenizers.AddedToken("<b>", lstrip=True), "<|im_end|>"]),
        ("add_special_tokens", ["<c>", tokenizers.AddedToken("<b>", rstrip=True)]),
        ("add_special_tokens", [tokenizers.AddedToken("<d>", special=True, normalized=False)]),
        ("add_tokens", [tokenizers.AddedToken("e\u0301", normalized=True)]),
        ("add_tokens", []),
    ]
    for name, tokens in steps:
        # Copies, because both change their arguments.
        expected = getattr(theirs, name)(copy.deepcopy(tokens))
        assert getattr(ours, name)(copy.deepcopy(tokens)) == expected, tokens
        assert ours.to_str() == theirs.to_str()
        assert ours.get_added_tokens_decoder() == theirs.get_added_tokens_decoder()
        text = "x <a> the  <b>  <c><d> e\u0301 é <|im_end|>"
        assert fields(ours.encode(text)) == fields(theirs.encode(text))
    ours.add_tokens([AddedToken("<ours>", single_word=True)])
    assert ours.encode("x <ours>").ids[-1] == ours.token_to_id("<ours>")
    with pytest.raises(TypeError, match="AddedToken"):
        ours.add_tokens([5])
    with pytest.raises(TypeError, match="list"):
        ours.add_tokens("<x>")


def test_added_token_defaults() -> None:
    for special in (True, False):
        mine, other = (
            AddedToken("<x>", special=special),
            tokenizers.AddedToken("<x>", special=special),
        )
        for name in ("content", "single_word", "lstrip", "rstrip", "normalized", "special"):
            assert getattr(mine, name) == getattr(other, name), name
    with pytest.raises(TypeError, match="str"):
        AddedToken(5)  # type: ignore[arg-type]


def test_components_can_be_set() -> None:
    theirs, ours = both("gpt2")
    processors, pre = tokenizers.processors, tokenizers.pre_tokenizers
    eot = ("<|endoftext|>", ours.token_to_id("<|endoftext|>"))
    changes = [
        ("normalizer", tokenizers.normalizers.NFD()),
        ("normalizer", None),
        ("pre_tokenizer", pre.Sequence([pre.Digits(True), pre.ByteLevel(True)])),
        ("pre_tokenizer", pre.ByteLevel(False)),
        (
            "post_processor",
            processors.TemplateProcessing(
                single="$A:0 <|endoftext|>:2", pair="$A $B:1", special_tokens=[eot]
            ),
        ),
        ("post_processor", None),
        ("decoder", None),
        ("decoder", tokenizers.decoders.ByteLevel()),
    ]
    for name, value in changes:
        setattr(theirs, name, value)
        setattr(ours, name, value)
        assert ours.to_str() == theirs.to_str()
        for text in hf_cases.TEXTS[3:9]:
            expected = theirs.encode(text, "b")
            assert fields(ours.encode(text, "b")) == fields(expected)
            assert ours.decode(expected.ids) == theirs.decode(expected.ids)
    ours.pre_tokenizer.add_prefix_space = True
    assert ours.encode("word").tokens[0].startswith("Ġ")
    assert ours.pre_tokenizer.add_prefix_space is True
    ours.post_processor = ours.post_processor
    with pytest.raises(AttributeError, match="colour"):
        ours.pre_tokenizer.colour = 1
    assert pickle.loads(pickle.dumps(ours.pre_tokenizer)) == ours.pre_tokenizer  # noqa: S301


def test_post_process() -> None:
    theirs, ours = both("deepseek_v3")
    for tokenizer in (theirs, ours):
        tokenizer.enable_padding(length=12)
    alone = [t.encode("a b c", add_special_tokens=False) for t in (theirs, ours)]
    for add in (True, False):
        expected = theirs.post_process(alone[0], None, add)
        assert fields(ours.post_process(alone[1], None, add)) == fields(expected)


def test_asynchronous(ours: Tokenizer) -> None:
    ours.enable_truncation(5)

    async def run() -> tuple[Any, Any, Any]:
        return (
            await ours.async_encode(LONG),
            await ours.async_encode_batch([LONG, "a"]),
            await ours.async_decode_batch([[1, 2], [3]]),
        )

    one, many, texts = asyncio.run(run())
    assert one.ids == many[0].ids == ours.encode(LONG).ids and len(one) == 5
    assert texts == ours.decode_batch([[1, 2], [3]])


def test_from_a_model() -> None:
    theirs = tokenizers.Tokenizer.from_str(hf_cases.family("gpt2"))
    ours = Tokenizer(theirs.model)
    assert ours.get_vocab() == theirs.get_vocab(False)
    with pytest.raises(ValueError, match="WordPiece"):
        Tokenizer(tokenizers.models.WordPiece())
