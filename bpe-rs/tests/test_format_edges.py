"""Files that say less than they seem to: the same ids, a warning, or a refusal."""

import base64
import json
import pickle
import warnings
from pathlib import Path

import bpe_rs
import bpe_rs.tiktoken
import pytest
import tiktoken.load
import tokenizers
from bpe_rs import Encoding


def test_a_special_token_that_spells_another_is_not_saved_where_ids_would_change(
    tmp_path: Path,
) -> None:
    with pytest.warns(UserWarning, match="asks for"):
        encoding = bpe_rs.train(["aaaa bbbb"], vocab_size=262, special_tokens=["a"])
    for name in ("tokenizer.json", "vocab.json"):
        with pytest.raises(ValueError, match="special token"):
            encoding.save(tmp_path / name)
    encoding.save(tmp_path / "x.tiktoken")
    assert Encoding.from_file(tmp_path / "x.tiktoken").fingerprint == encoding.fingerprint
    assert pickle.loads(pickle.dumps(encoding)).fingerprint == encoding.fingerprint  # noqa: S301


def write_model(folder: Path, pattern: str | None) -> None:
    vocab = {"a": 0, "b": 1, "ab": 2, "Ġ": 3}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\na b\n")
    if pattern is not None:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
        steps = [split | {"invert": False}, byte_level | {"trim_offsets": True}]
        model = {"type": "BPE", "vocab": vocab, "merges": [["a", "b"]]}
        file = {"model": model, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
        (folder / "tokenizer.json").write_text(json.dumps(file))


def test_a_vocabulary_without_a_pattern_says_which_it_takes(tmp_path: Path) -> None:
    write_model(tmp_path, None)
    with pytest.warns(UserWarning, match="name no pattern") as caught:
        taken = Encoding.from_file(tmp_path / "vocab.json")
    assert caught[0].filename == __file__
    assert taken.pat_str == bpe_rs.get_encoding("gpt2").pat_str
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = Encoding.from_file(tmp_path / "vocab.json", pattern="a|b| ")
        assert told.encode("ab") == [0, 1]
        write_model(tmp_path, "[ab]")
        beside = Encoding.from_file(tmp_path / "vocab.json")
        assert beside.encode("ab ") == [0, 1, 3]
        published = bpe_rs.get_encoding("gpt2")
        published.save(tmp_path / "gpt2-vocab.json")
        assert Encoding.from_file(tmp_path / "gpt2-vocab.json").fingerprint == published.fingerprint


def test_a_rank_file_with_an_empty_token(tmp_path: Path) -> None:
    lines = [f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(256)]
    path = tmp_path / "multilingual.tiktoken"
    # Of a token listed twice the later line counts; fields may be parted by any white space.
    path.write_text("\n".join([*lines, "aGk=\t999 ", "aGk= 257", "= 256"]))
    ranks = tiktoken.load.load_tiktoken_bpe(str(path))
    pattern = bpe_rs.get_encoding("gpt2").pat_str
    arguments = {"pat_str": pattern, "mergeable_ranks": ranks, "special_tokens": {"<e>": 258}}
    theirs = tiktoken.Encoding("x", **arguments)
    read = Encoding.from_file(path, pattern=pattern, special_tokens={"<e>": 258})
    made = Encoding("x", **arguments)
    assert read.fingerprint == made.fingerprint
    read.save(tmp_path / "again.tiktoken")
    read.save(tmp_path / "tokenizer.json")
    for ours in (
        read,
        made,
        pickle.loads(pickle.dumps(made)),  # noqa: S301
        bpe_rs.tiktoken.Encoding("x", **arguments),
        Encoding.from_file(tmp_path / "again.tiktoken"),
        Encoding.from_file(tmp_path / "tokenizer.json"),
    ):
        text = "hi <e> there"
        assert ours.encode(text, allowed_special="all") == theirs.encode(
            text, allowed_special="all"
        )
        for ids in ([256], [104, 256, 105], [256] * 3000 + [257]):
            assert ours.decode(ids) == theirs.decode(ids)
        assert ours.encode_single_token(b"") == theirs.encode_single_token(b"") == 256
        assert ours.token_byte_values() == theirs.token_byte_values()
        assert ours.n_vocab == theirs.n_vocab
        assert sorted(ours.encode_with_unstable("hi")[1]) == sorted(
            theirs.encode_with_unstable("hi")[1]
        )
    hugging_face = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert hugging_face.encode("hi there").ids == made.encode("hi there")
    assert made.decode_with_offsets([104, 256, 105]) == ("hi", [0, 1, 1])
