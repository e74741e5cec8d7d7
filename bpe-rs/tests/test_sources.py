"""Parquet files: every Arrow type that can hold text, and errors that name the row."""

import random
from pathlib import Path

import bpe_rs
import numpy as np
import pytest

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TEXTS = ["a cat sat", "", None, "déjà vu 你好\n", "a cat", "a cat"]
TYPES = [
    "string",
    "large_string",
    "string_view",
    "binary",
    "large_binary",
    "binary_view",
    "dictionary<string>",
    "dictionary<large_string>",
    "dictionary<binary>",
]


def column(kind: str, values: list):
    inner = kind.removeprefix("dictionary<").removesuffix(">")
    if not hasattr(pyarrow, inner):
        pytest.skip(f"this pyarrow has no {inner}")
    plain = pyarrow.array(values, getattr(pyarrow, inner)())
    return plain if inner == kind else plain.dictionary_encode()


def write(path: Path, **columns) -> Path:
    try:
        parquet.write_table(pyarrow.table(columns), path)
    except pyarrow.ArrowNotImplementedError as error:
        pytest.skip(f"this pyarrow does not write it: {error}")
    return path


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_that_holds_text_is_read(tmp_path, kind):
    # More rows than one batch.
    dice = random.Random(2)
    texts = dice.choices(TEXTS, k=2500)
    path = write(tmp_path / "a.parquet", id=list(range(2500)), text=column(kind, texts))
    there = [text for text in texts if text is not None]
    assert bpe_rs.count_words(path) == bpe_rs.count_words(there)
    learned = bpe_rs.train(path, vocab_size=270)
    assert learned.fingerprint == bpe_rs.train(there, vocab_size=270).fingerprint
    encoding = bpe_rs.get_encoding("gpt2")
    ids = encoding.encode_files(path, separator="<|endoftext|>")
    want = [[*encoding.encode_ordinary(text), encoding.eot_token] for text in there]
    assert np.asarray(ids).tolist() == [token for ids in want for token in ids]


@pytest.mark.parametrize("kind", ["binary", "string", "dictionary<binary>"])
def test_bytes_that_are_not_utf8_are_told_with_their_row(tmp_path, kind):
    values = [b"fine"] * 1500 + [b"ab\xffc"]
    # Arrow does not check bytes that are cast to a string.
    made = column(kind.replace("string", "binary"), values)
    made = made.view(pyarrow.string()) if kind == "string" else made
    path = write(tmp_path / "bad.parquet", text=made)
    match = r"bad\.parquet: column 'text', row 1500: expected UTF-8, got the byte 0xff at 2"
    with pytest.raises(ValueError, match=match):
        bpe_rs.count_words(path)
    with pytest.raises(ValueError, match=match):
        bpe_rs.get_encoding("gpt2").encode_files(path, out=tmp_path / "out.ids")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.parquet"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1, 2], "int64"),
        ([["a"], ["b"]], "list<.*string>"),
        ([None], "null"),
        ([{"a": 1}], "struct"),
    ],
)
def test_other_types_are_refused_by_name(tmp_path, values, shown):
    path = write(tmp_path / "other.parquet", text=values)
    match = (
        r"other\.parquet: expected strings, or bytes in UTF-8, in the column 'text', got " + shown
    )
    for read in (bpe_rs.count_words, bpe_rs.get_encoding("gpt2").encode_files):
        with pytest.raises(ValueError, match=match):
            read(path)
