"""`bpe_rs.count_words` and `WordCounts`."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections import Counter
from pathlib import Path

import bpe_rs
import pytest
import zstandard
from reference_training import words_of


def tokens_of(encoding: bpe_rs.Encoding, count: int) -> list[bytes]:
    return [encoding.decode_bytes([token]) for token in range(count)]


def test_every_form_of_file_gives_the_same_counts(shared_dir: Path, tmp_path: Path):
    text = (shared_dir / "data" / "wikitext2-valid.txt").read_text()
    lines = text.splitlines(keepends=True)
    documents = ["".join(lines[at : at + 40]) for at in range(0, len(lines), 40)]
    expected = bpe_rs.count_words(documents, num_threads=1)
    json_lines = "".join(json.dumps({"id": 1, "body": d}) + "\n" for d in documents).encode()
    (tmp_path / "a.jsonl").write_bytes(json_lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json_lines))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(json_lines))
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"body": [*documents, None]}), tmp_path / "a.parquet")
    for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"]:
        for threads in [1, 2, 8]:
            counts = bpe_rs.count_words(
                tmp_path / name, text_column="body", num_threads=threads, progress=lambda _: None
            )
            assert counts == expected, name
    whole = bpe_rs.count_words([text])
    for name, data in [
        ("a.txt", text.encode()),
        ("a.txt.gz", gzip.compress(text.encode())),
        ("a.ZST", zstandard.compress(text.encode())),
    ]:
        (tmp_path / name).write_bytes(data)
        for source in [tmp_path / name, str(tmp_path / name), [tmp_path / name]]:
            assert bpe_rs.count_words(source, num_threads=2) == whole, name


@pytest.mark.parametrize("pattern", ["gpt2", r"\w+|\W+"])
def test_large_texts_are_cut_where_it_makes_no_difference(tmp_path: Path, pattern):
    dice = random.Random(3)
    vocabulary = [
        "the",
        "a",
        "word",
        "don't",
        "1984",
        "naïve",
        "中文",
        "—",
        "  ",
        "\n\n",
        "<|x y|>",
    ]
    text = " ".join(dice.choices(vocabulary, k=700_000))
    expected = Counter[bytes]()
    for part in text.split("<|x y|>"):
        expected += words_of([part], pattern)
    path = tmp_path / "large.txt"
    path.write_text(text)
    for source in [path, [text], [text.encode()]]:
        for threads in [1, 3]:
            counts = bpe_rs.count_words(
                source, pattern=pattern, special_tokens=["<|x y|>"], num_threads=threads
            )
            assert dict(counts.items()) == dict(expected)
            assert counts.bytes == len(text.encode())


def test_counts_add_up_and_round_trip(tmp_path: Path):
    texts = ["a b c " * 9, "b c d and a very-very-long-word-of-many-letters", "d e f é"]
    whole = bpe_rs.count_words(texts)
    parts = [bpe_rs.count_words([text]) for text in texts]
    backwards = parts[2].merge(parts[1], parts[0])
    assert backwards == whole
    assert backwards.total == whole.total and backwards.bytes == whole.bytes
    whole.save(tmp_path / "whole.counts")
    backwards.save(tmp_path / "backwards.counts")
    data = (tmp_path / "whole.counts").read_bytes()
    assert data == (tmp_path / "backwards.counts").read_bytes() == whole.to_bytes()
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []
    loaded = bpe_rs.WordCounts.load(tmp_path / "whole.counts")
    assert loaded == whole == copy.deepcopy(whole)  # by __reduce__, like pickle
    assert loaded[b" b"] == whole[" b"] == 9 and loaded["nothing"] == 0
    trained = [
        tokens_of(bpe_rs.train(source, vocab_size=270), 270) for source in (texts, loaded, whole)
    ]
    assert trained[0] == trained[1] == trained[2]
    whole.merge(whole)
    assert whole[" b"] == 18
    assert len(loaded.prune(2)) == sum(count >= 2 for _, count in loaded.items())
    with pytest.raises(ValueError, match="first_seen"):
        bpe_rs.train(loaded, vocab_size=270, tie_break="first_seen")


def test_every_damage_to_a_file_of_counts_is_noticed(tmp_path: Path):
    path = tmp_path / "a.counts"
    bpe_rs.count_words(["some words, some more words"], special_tokens=["<e>"]).save(path)
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        with pytest.raises(ValueError, match=r"a\.counts"):
            bpe_rs.WordCounts.load(path)
        path.write_bytes(data[:at])
        with pytest.raises(ValueError, match=r"a\.counts"):
            bpe_rs.WordCounts.load(path)
    with pytest.raises(FileNotFoundError, match=r"b\.counts"):
        bpe_rs.WordCounts.load(tmp_path / "b.counts")


def test_counts_of_different_words_do_not_merge():
    counts = bpe_rs.count_words(["a b"])
    for other in [
        bpe_rs.count_words(["a b"], pattern="cl100k"),
        bpe_rs.count_words(["a b"], special_tokens=["<e>"]),
    ]:
        assert other.fingerprint != counts.fingerprint
        with pytest.raises(ValueError, match="cannot be merged"):
            counts.merge(other)
    with pytest.raises(ValueError, match="pattern"):
        bpe_rs.train(counts, vocab_size=257, pattern="cl100k")
    assert bpe_rs.train(counts, vocab_size=257, pattern="gpt2").n_vocab == 257


def test_texts_of_the_length_of_file_names_are_texts():
    text = "a text of some length, " * 20
    assert bpe_rs.count_words([text]).bytes == len(text)
    with pytest.raises(FileNotFoundError, match="pass it in a list"):
        bpe_rs.count_words(text)
