"""`bpe_rs.hf.Tokenizer` gives the results of Hugging Face's own engine, in every field."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import hf_cases
import pytest
import tokenizers
from bpe_rs.hf import Tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st


def fields(encoding: Any) -> dict[str, Any]:
    found = {name: getattr(encoding, name) for name in hf_cases.FIELDS}
    found["overflowing"] = [fields(part) for part in encoding.overflowing]
    return found


def both(name: str) -> tuple[Any, Tokenizer]:
    text = hf_cases.family(name)
    return tokenizers.Tokenizer.from_str(text), Tokenizer.from_str(text)


def same(theirs: Any, ours: Tokenizer, *args: Any, **kwargs: Any) -> None:
    expected, got = theirs.encode(*args, **kwargs), ours.encode(*args, **kwargs)
    assert fields(got) == fields(expected), args


@pytest.fixture(params=hf_cases.FAMILIES, scope="module")
def pair(request: pytest.FixtureRequest) -> tuple[Any, Tokenizer]:
    return both(request.param)


Both = tuple[Any, Tokenizer]


def test_texts(pair: Both) -> None:
    theirs, ours = pair
    for text in hf_cases.TEXTS:
        same(theirs, ours, text)
        same(theirs, ours, text, add_special_tokens=False)


def test_pairs(pair: Both) -> None:
    theirs, ours = pair
    for first in hf_cases.TEXTS:
        for second in hf_cases.TEXTS[::5]:
            same(theirs, ours, first, second)


def test_words(pair: Both) -> None:
    theirs, ours = pair
    rows = [text.split(" ") for text in hf_cases.TEXTS]
    for row in rows:
        same(theirs, ours, row, is_pretokenized=True)
        same(theirs, ours, row, rows[3], is_pretokenized=True)


def test_special_tokens_as_text(pair: Both) -> None:
    theirs, ours = both_copies(pair)
    theirs.encode_special_tokens = ours.encode_special_tokens = True
    for text in hf_cases.TEXTS:
        same(theirs, ours, text)


def both_copies(pair: Both) -> Both:
    theirs, ours = pair
    return tokenizers.Tokenizer.from_str(theirs.to_str()), Tokenizer.from_str(ours.to_str())


@pytest.mark.parametrize("direction", ["left", "right"])
@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
def test_truncation_and_padding(pair: Both, strategy: str, direction: str) -> None:
    theirs, ours = both_copies(pair)
    for max_length, stride in ((0, 0), (3, 0), (8, 2), (21, 5)):
        for tokenizer in (theirs, ours):
            tokenizer.enable_truncation(
                max_length, stride=stride, strategy=strategy, direction=direction
            )
            tokenizer.enable_padding(
                direction=direction, pad_id=7, pad_type_id=3, pad_token="<p>", length=max_length + 3
            )
        assert ours.truncation == theirs.truncation and ours.padding == theirs.padding
        assert ours.to_str() == theirs.to_str()
        # Short texts, because all overflowing parts of a pair are combined with one another.
        for text in hf_cases.TEXTS[::3]:
            for args in ((text,), (text, hf_cases.TEXTS[7]), (hf_cases.TEXTS[8][:12], text)):
                compare_or_both_refuse(theirs, ours, args)


def compare_or_both_refuse(theirs: Any, ours: Any, args: tuple[str, ...]) -> None:
    """Equal results; or a ValueError where theirs panics (a stride that is too large) or raises."""
    try:
        expected = fields(theirs.encode(*args))
    except BaseException as error:
        assert "Panic" in type(error).__name__ or type(error) is Exception, error
        with pytest.raises(ValueError, match=r"stride|[Tt]runcation"):
            ours.encode(*args)
        return
    assert fields(ours.encode(*args)) == expected, args


def test_batches(pair: Both) -> None:
    theirs, ours = both_copies(pair)
    batch = [*hf_cases.TEXTS, ("a pair", "of texts"), ["a list", "pair"]]
    for tokenizer in (theirs, ours):
        tokenizer.enable_padding(pad_to_multiple_of=8, direction="left")
        tokenizer.enable_truncation(40, stride=3)
    for add_special_tokens in (True, False):
        expected = theirs.encode_batch(batch, add_special_tokens=add_special_tokens)
        got = ours.encode_batch(batch, add_special_tokens=add_special_tokens)
        assert [fields(e) for e in got] == [fields(e) for e in expected]
    fast = ours.encode_batch_fast(batch)
    assert [e.ids for e in fast] == [e.ids for e in theirs.encode_batch_fast(batch)]
    words = [text.split() for text in hf_cases.TEXTS[1:]] + [(["a", "b c"], ["d"])]
    expected = theirs.encode_batch(words, is_pretokenized=True)
    got = ours.encode_batch(words, is_pretokenized=True)
    assert [fields(e) for e in got] == [fields(e) for e in expected]


def test_long_batch_on_threads(pair: Both) -> None:
    theirs, ours = pair
    batch = hf_cases.TEXTS * 60
    expected, got = theirs.encode_batch(batch), ours.encode_batch(batch)
    assert [e.ids for e in got] == [e.ids for e in expected]
    assert [e.offsets for e in got[:25]] == [e.offsets for e in expected[:25]]


def test_decode(pair: Both) -> None:
    theirs, ours = pair
    source = random.Random(0)
    ids = list(range(theirs.get_vocab_size()))
    for _ in range(200):
        row = source.choices(ids, k=source.randrange(12))
        for skip in (True, False):
            assert ours.decode(row, skip) == theirs.decode(row, skip)
    rows = [theirs.encode(text).ids for text in hf_cases.TEXTS]
    assert ours.decode_batch(rows) == theirs.decode_batch(rows)
    assert ours.decode([5, 10**6, 6]) == theirs.decode([5, 10**6, 6])


def test_vocabulary(pair: Both) -> None:
    theirs, ours = pair
    for with_added in (True, False):
        assert ours.get_vocab(with_added) == theirs.get_vocab(with_added)
        assert ours.get_vocab_size(with_added) == theirs.get_vocab_size(with_added)
    for id in (*range(theirs.get_vocab_size() + 2), 10**6):
        assert ours.id_to_token(id) == theirs.id_to_token(id)
    for token in (*theirs.get_vocab(), "no such token"):
        assert ours.token_to_id(token) == theirs.token_to_id(token)
    assert ours.get_added_tokens_decoder() == theirs.get_added_tokens_decoder()
    for is_pair in (True, False):
        expected = theirs.num_special_tokens_to_add(is_pair)
        assert ours.num_special_tokens_to_add(is_pair) == expected


def test_look_ups(pair: Both) -> None:
    theirs, ours = pair
    for first, second in zip(hf_cases.TEXTS[3:], hf_cases.TEXTS[5:], strict=False):
        expected, got = theirs.encode(first, second), ours.encode(first, second)
        for at in range(len(expected) + 2):
            for name in ("token_to_chars", "token_to_sequence", "token_to_word"):
                assert getattr(got, name)(at) == getattr(expected, name)(at), (name, at)
            for name in ("char_to_token", "char_to_word", "word_to_tokens", "word_to_chars"):
                for sequence in (0, 1):
                    found = getattr(got, name)(at, sequence)
                    assert found == getattr(expected, name)(at, sequence), (name, at, sequence)


def test_encoding_methods(pair: Both) -> None:
    theirs, ours = pair
    for text in hf_cases.TEXTS:
        encodings = [theirs.encode(text, "second one"), ours.encode(text, "second one")]
        for encoding in encodings:
            encoding.truncate(5, stride=2, direction="left")
            encoding.pad(9, direction="left", pad_id=3, pad_type_id=1, pad_token="<p>")
        assert fields(encodings[1]) == fields(encodings[0])
        for encoding in encodings:
            encoding.set_sequence_id(1)
        assert fields(encodings[1]) == fields(encodings[0])
        for growing in (True, False):
            merged = [
                type(encoding).merge([encoding, tokenizer.encode("more"), encoding], growing)
                for encoding, tokenizer in zip(encodings, pair, strict=True)
            ]
            assert fields(merged[1]) == fields(merged[0])


def test_components(pair: Both) -> None:
    theirs, ours = pair
    for text in hf_cases.TEXTS:
        expected = theirs.pre_tokenizer.pre_tokenize_str(text)
        assert ours.pre_tokenizer.pre_tokenize_str(text) == expected
        for piece, _ in expected:
            tokens = [token.as_tuple() for token in ours.model.tokenize(piece)]
            assert tokens == [token.as_tuple() for token in theirs.model.tokenize(piece)]
        if theirs.normalizer is not None:
            assert ours.normalizer.normalize_str(text) == theirs.normalizer.normalize_str(text)
        tokens = theirs.encode(text).tokens
        if theirs.decoder is not None:
            assert ours.decoder.decode(tokens) == theirs.decoder.decode(tokens)
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        expected, got = getattr(theirs, name), getattr(ours, name)
        assert (expected is None) == (got is None)
        if expected is not None:
            assert type(got).__name__ == type(expected).__name__


def test_file_is_written_alike(pair: Both, tmp_path: Path) -> None:
    theirs, ours = pair
    for pretty in (True, False):
        assert ours.to_str(pretty) == theirs.to_str(pretty)
    ours.save(tmp_path / "ours.json")
    theirs.save(str(tmp_path / "theirs.json"))
    assert (tmp_path / "ours.json").read_bytes() == (tmp_path / "theirs.json").read_bytes()


ALPHABET = "aAzé\u0301\u0958ﬁ中日가\u1161\u11a8'sS ſ \t\n\r1٣½.,-!<>|🎉\u200d\u00a0\u3000x_"
PARTS = ["<|endoftext|>", "<mask>", "<left>", "<right>", "ing", "the", "café", "<think>", "'ll"]
texts = st.lists(
    st.one_of(st.text(ALPHABET, max_size=6), st.sampled_from(PARTS), st.text(max_size=4)),
    max_size=8,
).map("".join)


@pytest.mark.parametrize("name", hf_cases.FAMILIES)
@settings(max_examples=60, deadline=None)
@given(first=texts, second=texts)
@example(first="", second="\u0301<<")
def test_any_text(name: str, first: str, second: str) -> None:
    theirs, ours = cached(name)
    same(theirs, ours, first)
    same(theirs, ours, first, second)


_cache: dict[str, Both] = {}


def cached(name: str) -> Both:
    if name not in _cache:
        _cache[name] = both(name)
    return _cache[name]


@given(texts, texts, st.integers(0, 12), st.integers(0, 4), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_truncation(
    first: str, second: str, max_length: int, stride: int, left: bool, template: bool
) -> None:
    theirs, ours = cached("deepseek_v3" if template else "awkward_tokens")
    side = "left" if left else "right"
    try:
        theirs.enable_truncation(max_length, stride=stride, direction=side)
    except ValueError:
        with pytest.raises(ValueError, match="stride"):
            ours.enable_truncation(max_length, stride=stride, direction=side)
        return
    ours.enable_truncation(max_length, stride=stride, direction=side)
    for args in ((first,), (first, second)):
        compare_or_both_refuse(theirs, ours, args)
    theirs.no_truncation()
    ours.no_truncation()


def test_gpt2(shared_dir: Path) -> None:
    path = shared_dir / "vocab" / "gpt2-tokenizer.json"
    theirs, ours = tokenizers.Tokenizer.from_file(str(path)), Tokenizer.from_file(path)
    assert ours.to_str() == theirs.to_str()
    for text in hf_cases.TEXTS:
        same(theirs, ours, text)
    data = shared_dir / "data"
    lines = (data / "wikitext2-valid.txt").read_text(encoding="utf-8").splitlines()[:2000]
    expected, got = theirs.encode_batch(lines), ours.encode_batch(lines)
    for theirs_line, ours_line in zip(expected, got, strict=True):
        assert ours_line.ids == theirs_line.ids
        assert ours_line.offsets == theirs_line.offsets
        assert ours_line.word_ids == theirs_line.word_ids
