"""Every kind of tokenizer, opened, trained, used and saved in the same way."""

import numpy as np
import pytest

from gptpy.config import ConfigError
from gptpy.tokenizer import (
    decode_ids,
    encode_array,
    encode_batch,
    end_of_text,
    is_lossless,
    make_tokenizer,
    open_tokenizer,
    save_tokenizer,
    train_tokenizer,
)

TEXT = "low low lower lowest\nnewest low"


@pytest.mark.parametrize("spec", ["characters", "words:6", "bytes:260"])
def test_a_trained_tokenizer_survives_its_file(spec, tmp_path):
    made = make_tokenizer(spec, lambda: iter([TEXT]))
    again = open_tokenizer(save_tokenizer(made, tmp_path))
    assert again.fingerprint == made.fingerprint and len(again.fingerprint) == 64
    assert again.n_vocab == made.n_vocab
    ids = encode_array(again, TEXT)
    assert ids.tolist() == made.encode_ordinary(TEXT) and max(ids) < again.n_vocab
    joined, offsets = encode_batch(again, [TEXT, "", "low"])
    assert offsets.tolist() == [0, len(ids), len(ids), len(joined)]
    assert np.array_equal(joined[: len(ids)], ids)
    decoded = again.decode_bytes(ids.tolist()).decode()
    if is_lossless(again):
        assert decoded == TEXT
    else:
        assert decoded.split() == TEXT.split()
    # token by token, as generation does it, is the same text
    assert b"".join(again.decode_bytes([i]) for i in ids.tolist()).decode() == decoded
    assert (end_of_text(again) is None) == (spec != "bytes:260")


def test_what_cannot_be_made_is_one_line():
    for spec, message in [
        ("words", "expected a number"),
        ("words:many", "expected a number"),
        ("bytes:0", "expected a number"),
        ("letters", "published tokenizer"),
    ]:
        with pytest.raises(ConfigError, match=message):
            make_tokenizer(spec, lambda: [TEXT])
    for spec in ("characters", "words:3"):
        with pytest.raises(ConfigError):
            make_tokenizer(spec, lambda: [""])


def test_a_published_name_and_what_is_none(tmp_path):
    gpt2 = open_tokenizer("gpt2")
    assert end_of_text(gpt2) == 50256 and is_lossless(gpt2)
    assert encode_array(gpt2, "<|endoftext|>").tolist() != [50256], "a text has no special token"
    assert decode_ids(gpt2, [15496, 995]) == "Hello world"
    with pytest.raises(ConfigError, match="cannot decode"):
        decode_ids(gpt2, [60_000])
    with pytest.raises(ConfigError, match=r"holds neither tokenizer\.json nor vocab\.json"):
        open_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        open_tokenizer(tmp_path)
    with pytest.raises(ConfigError):
        train_tokenizer([TEXT], 10)
