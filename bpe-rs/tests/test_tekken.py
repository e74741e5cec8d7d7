"""Mistral's `tekken.json`: the ids of mistral-common."""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path
from typing import Any

import bpe_rs
import hf_cases
import pytest
from bpe_rs import hf

TEXTS = [*hf_cases.TEXTS, "<s>[INST] hi <SPECIAL_21>"]
CONFIG = {"pattern": r"\s+|\S+", "default_vocab_size": 286, "default_num_special_tokens": 20}


def small(**changes: Any) -> str:
    """A file with 268 tokens, of which the last two do not count."""
    trained = bpe_rs.train(["low lower lowest newest"] * 3, vocab_size=268, tie_break="pair")
    vocab = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for rank, token in enumerate(tokens_of(trained))
    ]
    special = [{"rank": 0, "token_str": "<unk>", "is_control": True}]
    return json.dumps({"config": CONFIG, "vocab": vocab, "special_tokens": special, **changes})


def tokens_of(encoding: bpe_rs.Encoding) -> list[bytes]:
    return [encoding.decode_single_token_bytes(id) for id in range(encoding.n_vocab)]


def test_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "tekken.json"
    path.write_text(small())
    encoding = bpe_rs.Encoding.from_file(path)
    assert encoding.n_vocab == 286 and encoding.special_tokens["<SPECIAL_19>"] == 19
    ranks = {token: id for token, id in encoding.mergeable_ranks.items() if len(token) > 1}
    plain = {bytes([byte]): 20 + byte for byte in range(256)}
    assert encoding.mergeable_ranks == {**plain, **ranks} and min(ranks.values()) == 276
    ids = encoding.encode_ordinary("lowest <unk>")
    assert min(ids) >= 20 and encoding.decode(ids) == "lowest <unk>"
    assert encoding.encode("<unk>low", allowed_special="all")[0] == 0
    tokenizer = hf.Tokenizer.from_file(path)
    assert tokenizer.encode("<unk>lowest").ids == encoding.encode(
        "<unk>lowest", allowed_special="all"
    )
    with pytest.raises(ValueError, match="only read"):
        encoding.save(tmp_path / "tekken.json")


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "tekken.json"
    for changes, problem in [
        ({"vocab": []}, "default_vocab_size"),
        ({"vocab": [{"rank": 1, "token_bytes": "AA=="}] * 300}, "rank 0"),
        ({"vocab": [{"rank": 0, "token_bytes": "?"}] * 300}, "base64"),
        ({"special_tokens": [{"rank": 3, "token_str": "x"}]}, "special_tokens"),
        ({"config": {}}, "pattern"),
    ]:
        path.write_text(small(**changes))
        with pytest.raises(ValueError, match=problem):
            bpe_rs.Encoding.from_file(path)


@pytest.mark.skipif(
    importlib.util.find_spec("mistral_common") is None, reason="mistral-common is not installed"
)
def test_the_files_of_mistral_common() -> None:
    import mistral_common  # pyright: ignore[reportMissingImports]
    from mistral_common.tokens.tokenizers.tekken import (  # pyright: ignore[reportMissingImports]
        Tekkenizer,
    )

    folder = Path(str(mistral_common.__file__)).parent
    files = sorted((folder / "data").glob("tekken_*.json"))
    assert files
    for file in files:
        encoding, theirs = bpe_rs.Encoding.from_file(file), Tekkenizer.from_file(file)
        tokenizer = hf.Tokenizer.from_file(file)
        tokenizer.encode_special_tokens = True
        assert encoding.n_vocab == theirs.n_words
        for text in TEXTS:
            ids = theirs.encode(text, bos=False, eos=False)
            assert encoding.encode_ordinary(text) == tokenizer.encode(text).ids == ids, text
