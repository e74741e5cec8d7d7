"""Text from ids as they come: whole characters, stop strings, prompts in every form."""

import itertools

import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.config.data import DataConfig, TemplateConfig
from gptpy.inference.text import prepare_prompt, shown_prompt, stream_text
from gptpy.model import Bigram, build_model
from gptpy.tokenizer import make_tokenizer


def trained_bigram(pairs: dict[int, int], vocab_size=8):
    """A model that continues `a` with `pairs[a]`, nearly surely."""
    model = Bigram(GPTConfig.preset("bigram", vocab_size=vocab_size, block_size=4))
    model.token_embedding.weight.data.zero_()
    for a, b in pairs.items():
        model.token_embedding.weight.data[a, b] = 50.0
    return model


class Bytes:
    """A tokenizer of single bytes."""

    def encode_ordinary(self, text):
        return list(text.encode())

    def decode_bytes(self, tokens):
        return bytes(tokens)


def speaker(text: str):
    """A model that says `text` after NUL, byte by byte (each byte once)."""
    said = [0, *text.encode()]
    assert len(set(said)) == len(said)
    return trained_bigram(dict(itertools.pairwise(said)), vocab_size=256)


def test_streamed_text_holds_back_partial_characters_and_stop_strings():
    model = speaker("abé stop")
    pieces = list(stream_text(model, Bytes(), [0], 9, temperature=0))
    assert pieces == ["a", "b", "é", " ", "s", "t", "o", "p"]
    pieces = list(stream_text(model, Bytes(), [0], 9, temperature=0, stop=["sto", "zz"]))
    assert "".join(pieces) == "abé "
    # " s" could begin " sX" until "t" comes: nothing is lost.
    pieces = list(stream_text(model, Bytes(), [0], 7, temperature=0, stop=[" sX"]))
    assert pieces == ["a", "b", "é", " st"]
    # Cut inside a character: the replacement character, at the end only.
    assert "".join(stream_text(model, Bytes(), [0], 3, temperature=0)) == "ab\ufffd"
    assert "".join(stream_text(model, Bytes(), "", 3, temperature=0, eos_id=0)) == "ab\ufffd"
    assert "".join(stream_text(model, Bytes(), "a", 9, temperature=0, eos_id=ord(" "))) == "bé"


def test_ids_without_a_token_are_no_text():
    class Gaps(Bytes):
        def decode_bytes(self, tokens):
            if ord("x") in tokens:
                raise KeyError("Invalid token for decoding")
            return bytes(tokens)

    assert "".join(stream_text(speaker("axb"), Gaps(), [0], 3, temperature=0)) == "ab"


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ValueError, match="non-empty strings"):
        next(stream_text(speaker("ab"), Bytes(), [0], 3, stop=[""]))
    with pytest.raises(ValueError, match="no end-of-text token"):
        next(stream_text(speaker("ab"), Bytes(), "", 3))


def test_prompts_have_the_form_of_the_training_rows():
    letters, words = (make_tokenizer(s, lambda: ["a b User:"]) for s in ("characters", "words:1"))
    model, end = trained_bigram({}), 99
    ids = letters.encode_ordinary("a b")
    expected = {"stream": ids, "lines": [end, *ids]}
    for form, found in expected.items():
        data = DataConfig(form=form)  # type: ignore[arg-type]
        assert prepare_prompt(model, letters, "a b", data, end) == (found, {})
        assert prepare_prompt(model, letters, "a b", data, None) == (ids, {})
        assert shown_prompt(letters, "a  b", data) == "a  b"
        assert shown_prompt(words, "a  b", data).split() == ["a", "b"]
    template = TemplateConfig(user="User:{content}", assistant="{content}")
    chat = DataConfig(form="chat", template=template)
    turn = letters.encode_ordinary("User:a b")
    assert prepare_prompt(model, letters, "a b", chat, end) == ([end, *turn], {})
    assert shown_prompt(letters, "a b", chat) == ""


def test_the_source_of_a_pair_is_read_once():
    letters = make_tokenizer("characters", lambda: ["ab"])
    shape = {"n_layer": 1, "n_encoder_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 8}
    config = GPTConfig.preset("encoder-decoder-mini", vocab_size=3, **shape)
    model, data = build_model(config), DataConfig(form="pairs")
    ids, inputs = prepare_prompt(model, letters, "ab", data, 2)
    assert ids == [2] and inputs["memory"].shape == (1, 3, 8) and model.training
    with torch.inference_mode():
        expected = model.eval().encode(torch.tensor([[0, 1, 2]]))  # type: ignore[operator]
    torch.testing.assert_close(inputs["memory"], expected)
    assert shown_prompt(letters, "ab", data) == ""
