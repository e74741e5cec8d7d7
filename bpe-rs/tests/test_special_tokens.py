"""Special tokens as properties: what was not allowed is never recognised, nothing is lost."""

from functools import cache

import bpe_rs
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_tiktoken import tiktoken_encoding

ENCODINGS = {name: bpe_rs.get_encoding(name) for name in ("r50k_base", "p50k_edit", "cl100k_base")}
KNOWN = sorted({token for encoding in ENCODINGS.values() for token in encoding.special_tokens})

names = st.sampled_from(sorted(ENCODINGS))
# Whole special tokens, incomplete ones, nested ones, plain text around.
parts = st.one_of(
    st.sampled_from(KNOWN),
    st.sampled_from(["<|", "|>", "<|endoftext", "endoftext|>", "<|<|endoftext|>", " ", "\n", "é"]),
    st.text(max_size=5),
)
texts = st.lists(parts, max_size=8).map("".join)
# Strings that are no special tokens may be allowed, too: they stay plain text and hide no special
# token that overlaps them.
OTHERS = ["no such token", "<|", "é<|", " <|endoftext", "<|endoftext|>é", "|><|endoftext|>"]
choices = st.sets(st.sampled_from([*KNOWN, *OTHERS]))


@cache
def reference(name: str) -> tiktoken.Encoding:
    return tiktoken_encoding(ENCODINGS[name])


@settings(max_examples=400, deadline=None)
@given(names, texts, st.one_of(st.just("all"), choices), st.one_of(st.just("all"), choices))
def test_as_tiktoken(name, text, allowed, disallowed):
    ours, theirs = ENCODINGS[name], reference(name)
    arguments = {"allowed_special": allowed, "disallowed_special": disallowed}
    try:
        want = theirs.encode(text, **arguments)
    except ValueError:
        for call in (ours.encode, ours.count, ours.encode_to_numpy):
            with pytest.raises(ValueError, match="disallowed special token"):
                call(text, **arguments)
        return
    assert ours.encode(text, **arguments) == want
    assert ours.count(text, **arguments) == len(want)
    assert ours.encode_to_numpy(text, **arguments).tolist() == want


@settings(max_examples=400, deadline=None)
@given(names, texts, choices)
def test_nothing_is_recognised_that_was_not_allowed(name, text, allowed):
    encoding = ENCODINGS[name]
    ids = encoding.encode(text, allowed_special=allowed, disallowed_special=())
    special = {id: token for token, id in encoding.special_tokens.items()}
    found = [special[token] for token in ids if token in special]
    assert set(found) <= allowed
    # In order, each where it stands in the text.
    at = 0
    for token in found:
        at = text.index(token, at) + len(token)
    # No allowed token is left in the plain text, except inside another one.
    for token in allowed & set(encoding.special_tokens):
        assert (token in text) == (token in found) or any(token in other for other in found)
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert encoding.decode(ids) == clean
    ordinary = encoding.encode_ordinary(text)
    assert not special.keys() & set(ordinary)
    assert encoding.encode(text, disallowed_special=()) == ordinary


@settings(max_examples=100, deadline=None)
@given(names, texts)
def test_disallowed_is_checked_before_anything_is_encoded(name, text):
    encoding = ENCODINGS[name]
    stands = any(token in text for token in encoding.special_tokens)
    if not stands:
        assert encoding.encode(text) == encoding.encode_ordinary(text)
        return
    for call in (encoding.encode, encoding.count):
        with pytest.raises(ValueError, match="disallowed special token"):
            call(text)
    with pytest.raises(ValueError, match="disallowed special token"):
        encoding.encode_batch(["fine", text])
