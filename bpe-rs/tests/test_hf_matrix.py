"""Every model family against Hugging Face's own engine, on texts of all scripts.

`BPE_RS_MATRIX=2000` compares so many texts a family (and `make test-hf-matrix`); without it, few.
The properties that tests record become the table of `tools/hf_matrix.py`.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable
from typing import Any, Protocol

import hard_texts
import hf_cases
import hf_families
import pytest
import tokenizers
from bpe_rs.hf import DecodeStream, Tokenizer

COUNT = int(os.environ.get("BPE_RS_MATRIX", "80"))
FAMILIES: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(hf_families.FAMILIES, hf_families.family),
    **dict.fromkeys(hf_cases.FAMILIES, hf_cases.family),
}
# First and last characters of blocks from which texts are drawn.
BLOCKS = [
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x300, 0x36F),
    (0x370, 0x3FF),
    (0x400, 0x4FF),
    (0x5D0, 0x5EA),
    (0x600, 0x6FF),
    (0x900, 0x97F),
    (0xE00, 0xE7F),
    (0x1100, 0x11FF),
    (0x1E00, 0x1FFF),
    (0x2000, 0x206F),
    (0x2580, 0x25FF),
    (0x3000, 0x30FF),
    (0x4E00, 0x4FFF),
    (0xAC00, 0xACFF),
    (0xFB00, 0xFB4F),
    (0xFE00, 0xFFFD),
    (0x1F300, 0x1F6FF),
    (0x20000, 0x200FF),
]
PARTS = [
    *"  \n\t\r",
    "  ",
    "\n\n",
    "▁",
    "▁▁",
    "<s>",
    "</s>",
    "<unk>",
    "<0x41>",
    "<0xE2>",
    "<mask>",
    "[INST]",
    "<|user|>",
    "<|end|>",
    "<FILL>",
    "▁<PRE>",
    "##",
    "</w>",
    "zzz",
    "'s",
    "don't",
    "12345",
    "é",
    "e\u0301",
    "İ",
    "ǅ",
    "ß",
]


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of words, single characters of all blocks and what has a meaning of its own."""
    dice = random.Random(seed)
    words = " ".join(hf_cases.TEXTS).split(" ")

    def part() -> str:
        kind = dice.random()
        if kind < 0.45:
            return dice.choice(words)
        if kind < 0.7:
            return dice.choice(PARTS)
        first, last = dice.choice(BLOCKS)
        run = range(dice.randrange(1, 6))
        characters = (chr(dice.randint(first, last)) for _ in run)
        return "".join(characters)

    def text() -> str:
        joiner = dice.choice(["", " ", " "])
        return joiner.join(part() for _ in range(dice.randrange(1, 24)))

    return [*hf_cases.TEXTS, *(text() for _ in range(count))]


def fields(encoding: Any) -> dict[str, Any]:
    found = {name: getattr(encoding, name) for name in hf_cases.FIELDS}
    found["overflowing"] = [fields(part) for part in encoding.overflowing]
    return found


Both = tuple[Any, Tokenizer]


class Record(Protocol):
    """Pytest's fixture `record_property`."""

    def __call__(self, name: str, value: object) -> None: ...


@pytest.fixture(params=FAMILIES, scope="module")
def both(request: pytest.FixtureRequest) -> Both:
    text = FAMILIES[request.param](request.param)
    return tokenizers.Tokenizer.from_str(text), Tokenizer.from_str(text)


def test_texts(both: Both, record_property: Record) -> None:
    theirs, ours = both
    sample = texts(COUNT)
    record_property("texts", len(sample))
    record_property("decodes", 2 * len(sample))
    for text in sample:
        want, got = theirs.encode(text), ours.encode(text)
        assert fields(got) == fields(want), text
        assert ours.decode(got.ids) == theirs.decode(want.ids)
        assert ours.decode(got.ids, False) == theirs.decode(want.ids, False)


def test_pairs_and_words(both: Both, record_property: Record) -> None:
    theirs, ours = both
    sample = texts(COUNT // 10 + 4, 1)[-(COUNT // 10 + 4) :]
    record_property("pairs", 3 * (len(sample) - 1))
    for first, second in itertools.pairwise(sample):
        assert fields(ours.encode(first, second)) == fields(theirs.encode(first, second)), first
        words = (first.split(" "), second.split(" "))
        for add in (True, False):
            settings: dict[str, Any] = {"is_pretokenized": True, "add_special_tokens": add}
            got, want = ours.encode(*words, **settings), theirs.encode(*words, **settings)
            assert fields(got) == fields(want), words


def test_truncated_pairs(both: Both, record_property: Record) -> None:
    theirs, ours = (type(each).from_str(each.to_str()) for each in both)
    sample = texts(COUNT // 20 + 4, 2)[-(COUNT // 20 + 4) :]
    record_property("pairs", len(sample) - 1)
    for tokenizer in (theirs, ours):
        tokenizer.enable_truncation(14, stride=3)
        tokenizer.enable_padding(length=16, pad_id=1, pad_token="<s>")
    for first, second in itertools.pairwise(sample):
        assert fields(ours.encode(first, second)) == fields(theirs.encode(first, second)), first
        assert fields(ours.encode(first)) == fields(theirs.encode(first)), first


def test_random_ids(both: Both, record_property: Record) -> None:
    theirs, ours = both
    dice = random.Random(3)
    size = theirs.get_vocab_size()
    count = max(COUNT // 4, 20)
    record_property("decodes", 2 * count)
    for _ in range(count):
        ids = [dice.randrange(size) for _ in range(dice.randrange(1, 12))]
        assert ours.decode(ids) == theirs.decode(ids), ids
        assert ours.decode(ids, False) == theirs.decode(ids, False), ids
        mine, stream = DecodeStream(), tokenizers.decoders.DecodeStream()
        for id in ids:
            try:
                want = stream.step(theirs, id)
            except Exception:
                with pytest.raises(ValueError, match="continues"):
                    mine.step(ours, id)
                break
            assert mine.step(ours, id) == want, ids


def test_saved_and_seen(both: Both) -> None:
    theirs, ours = both
    assert ours.to_str() == theirs.to_str()
    assert ours.to_str(pretty=True) == theirs.to_str(pretty=True)
    assert ours.get_vocab() == theirs.get_vocab()
    for text in hf_cases.TEXTS[::3]:
        if ours.normalizer is not None:
            assert ours.normalizer.normalize_str(text) == theirs.normalizer.normalize_str(text)
        if ours.pre_tokenizer is not None:
            want = theirs.pre_tokenizer.pre_tokenize_str(text)
            assert ours.pre_tokenizer.pre_tokenize_str(text) == want


LONG = ["llama2", "mistral_v3", "unknown_fused", "dropped", "some_bytes", "openai_gpt", "falcon"]


@pytest.mark.parametrize("name", LONG)
def test_long_pieces(name: str) -> None:
    """Pieces that merge in windows, and that a vocabulary of characters cuts itself."""
    text = hf_families.family(name)
    theirs, ours = tokenizers.Tokenizer.from_str(text), Tokenizer.from_str(text)
    for family, make in hard_texts.FAMILIES.items():
        sample = make(7000)
        want, got = theirs.encode(sample), ours.encode(sample)
        assert got.ids == want.ids, family
        assert got.offsets == want.offsets, family


def test_batches_on_threads(both: Both) -> None:
    theirs, ours = both
    batch = hf_cases.TEXTS * (COUNT // 10 + 2)
    want, got = theirs.encode_batch_fast(batch), ours.encode_batch(batch)
    assert [each.ids for each in got] == [each.ids for each in want]
