"""`bpe_rs.train` and `count_words` against their slow twins and against the peers."""

from __future__ import annotations

import copy
import gzip
import importlib.util
import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import bpe_rs
import numpy as np
import pytest
import tokenizers
import zstandard

_spec = importlib.util.spec_from_file_location(
    "naive_training", Path(__file__).with_name("naive_training.py")
)
assert _spec is not None and _spec.loader is not None
_naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_naive)
byte_order, naive_train, words_of = _naive.byte_order, _naive.naive_train, _naive.words_of

TIE_BREAKS: list[Literal["huggingface", "pair", "first_seen", "longest"]] = [
    "huggingface",
    "pair",
    "first_seen",
    "longest",
]


def tokens_of(encoding: bpe_rs.Encoding, count: int) -> list[bytes]:
    return [encoding.decode_bytes([token]) for token in range(count)]


def random_texts(dice: random.Random) -> list[str]:
    alphabet = dice.choice(["ab", "abc ", "aé 1\n", "xyz, 'sé中\t"])
    return [
        "".join(dice.choices(alphabet, k=dice.randrange(60))) for _ in range(dice.randrange(1, 8))
    ]


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
@pytest.mark.filterwarnings("ignore:vocab_size")
def test_random_corpora_give_the_naive_tokens(tie_break, tmp_path: Path):
    for seed in range(250):
        dice = random.Random(f"{tie_break} {seed}")
        texts = random_texts(dice)
        if not any(texts):
            continue
        options: dict[str, Any] = {
            "min_frequency": dice.choice([0, 0, 2, 5]),
            "max_token_length": dice.choice([None, None, 1, 3, 8]),
        }
        words = words_of(texts)
        size = 256 + dice.randrange(60)
        expected = naive_train(words, size, tie_break, **options)
        sources: list[Any] = [iter(texts), [text.encode() for text in texts]]
        paths = [tmp_path / f"{i}.txt" for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text.encode())
        sources.append(paths)
        sources.append(bpe_rs.WordCounts.from_mapping(words))
        for source in sources:
            threads = dice.choice([1, 2, 8, 16])
            encoding = bpe_rs.train(
                source, vocab_size=size, tie_break=tie_break, num_threads=threads, **options
            )
            assert encoding.n_vocab == len(expected), (seed, options)
            assert tokens_of(encoding, len(expected)) == expected, (seed, options, threads)


def huggingface_tokens(texts: list[str], size: int, **options) -> list[bytes]:
    """What the `tokenizers` package learns, as bytes."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level = tokenizers.pre_tokenizers.ByteLevel
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=byte_level.alphabet(), **options
    )
    tokenizer.train_from_iterator(texts, trainer)
    order = byte_order("huggingface")
    byte_of = {char: order[i] for i, char in enumerate(sorted(byte_level.alphabet()))}
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [bytes(byte_of[char] for char in token) for token, _ in vocab]


@pytest.mark.filterwarnings("ignore:vocab_size")
def test_random_corpora_give_the_tokens_of_huggingface():
    for seed in range(150):
        dice = random.Random(seed)
        texts = random_texts(dice)
        if not any(texts):
            continue
        size = 256 + dice.randrange(80)
        # Theirs is an exclusive limit, but for pairs of single bytes.
        longest = dice.choice([None, 3, 6])
        expected = huggingface_tokens(
            texts, size, max_token_length=None if longest is None else longest + 1
        )
        encoding = bpe_rs.train(texts, vocab_size=size, max_token_length=longest)
        assert tokens_of(encoding, encoding.n_vocab) == expected, seed


@pytest.mark.parametrize("size", [512, 5000])
def test_shakespeare_gives_the_tokens_of_huggingface(shared_dir: Path, size):
    path = shared_dir / "data" / "tinyshakespeare.txt"
    expected = huggingface_tokens([path.read_text()], size)
    for threads in [1, 2, 8, 16]:
        encoding = bpe_rs.train(path, vocab_size=size, num_threads=threads)
        assert tokens_of(encoding, size) == expected


def test_counts_beyond_32_bits():
    words = Counter({b"ab": 1 << 40, b"bc": (1 << 40) + 1, b"cd": 1 << 33, b"abab": 1 << 62})
    for tie_break in TIE_BREAKS:
        counts = bpe_rs.WordCounts.from_mapping(words)
        assert counts.total == sum(words.values())
        encoding = bpe_rs.train(counts, vocab_size=260, tie_break=tie_break)
        assert tokens_of(encoding, 260) == naive_train(words, 260, tie_break)
    with pytest.raises(ValueError, match="2\\^64"):
        bpe_rs.WordCounts.from_mapping({b"ab": 1 << 64})
    with pytest.raises(ValueError, match="too large"):
        counts = bpe_rs.WordCounts.from_mapping({b"abcdefgh": (1 << 64) - 1})
        bpe_rs.train(counts, vocab_size=300)


def test_several_sizes_from_one_run():
    texts = ["the quick brown fox jumps over the lazy dog and runs away from it"]
    sizes = [280, 270, 275]
    together = bpe_rs.train(texts, vocab_size=sizes, special_tokens=["<end>"])
    for size, encoding in zip(sizes, together, strict=True):
        alone = bpe_rs.train(texts, vocab_size=size, special_tokens=["<end>"])
        assert tokens_of(encoding, size) == tokens_of(alone, size)
        assert encoding.n_vocab == size


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
        for source in [tmp_path / name, str(tmp_path / name), [str(tmp_path / name)]]:
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


def test_order_of_first_occurrence_survives_merging():
    texts = ["zz yy xx", "ww zz vv", "uu yy"]
    merged = bpe_rs.count_words(texts[:1])
    merged.merge(bpe_rs.count_words(texts[1:2]), bpe_rs.count_words(texts[2:]))
    options: dict[str, Any] = {"vocab_size": 262, "tie_break": "first_seen"}
    expected = naive_train(words_of(texts), 262, "first_seen")
    assert tokens_of(bpe_rs.train(merged, **options), 262) == expected
    for threads in [1, 2, 16]:
        encoding = bpe_rs.train(texts, num_threads=threads, **options)
        assert tokens_of(encoding, 262) == expected


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


def test_mistakes_are_told(tmp_path: Path):
    def fails(
        error: type[Exception], match: str, source: Any = ("some text",), **options: Any
    ) -> None:
        with pytest.raises(error, match=match):
            bpe_rs.train(source, **{"vocab_size": 300, **options})

    fails(ValueError, "at least 256", vocab_size=255)
    fails(ValueError, "at least 257 .*1 special", vocab_size=256, special_tokens=["<e>"])
    fails(ValueError, "at least one vocab_size", vocab_size=[])
    fails(ValueError, "nothing to learn from", source=[])
    fails(ValueError, "nothing to learn from", source=["", b""])
    fails(ValueError, "'<e>' twice", special_tokens=["<e>", "<e>"])
    fails(ValueError, "not empty", special_tokens=[""])
    fails(TypeError, "list of special tokens", special_tokens="<e>")
    fails(ValueError, "huggingface, pair, first_seen, longest", tie_break="random")
    fails(ValueError, "min_frequency", min_frequency=-1)
    fails(ValueError, "max_token_length", max_token_length=0)
    fails(ValueError, "num_threads", num_threads=0)
    fails(ValueError, "pattern|regular", pattern="(unclosed")
    fails(TypeError, "got int", source=["a", 1])
    fails(TypeError, "got int", source=5)
    fails(TypeError, "got bytes", source=b"text")
    fails(FileNotFoundError, "no such file", source="no/such/file.txt")
    fails(IsADirectoryError, "is a folder", source=tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"abc \xe9 def")
    fails(ValueError, "latin.txt.*0xe9 at offset 4", source=tmp_path / "latin.txt")
    fails(ValueError, "0xe9 at offset 4", source=[b"abc \xe9 def"])
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n')
    fails(ValueError, 'offset 14.*no field "text", only body', source=tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text('{"text": 3}\n')
    fails(ValueError, "expected a string", source=tmp_path / "b.jsonl")
    (tmp_path / "c.gz").write_bytes(b"this is not packed")
    fails(OSError, "c.gz", source=tmp_path / "c.gz")
    (tmp_path / "d.zst").write_bytes(b"this is not packed")
    fails(OSError, "d.zst", source=tmp_path / "d.zst")
    with pytest.warns(UserWarning, match="asks for 44 merges, the text has only 3"):
        assert bpe_rs.train(["abcd"], vocab_size=300).n_vocab == 259


def test_progress_and_stopping():
    seen: list[bpe_rs.Progress] = []
    text = "".join(f"word{i} " for i in range(300_000))
    bpe_rs.train([text] * 3, vocab_size=3000, progress=seen.append, num_threads=2)
    counted = [progress.done for progress in seen if progress.phase == "count"]
    assert counted == sorted(counted) and counted[-1] == 3 * len(text)
    assert seen[-1].phase == "merge" and seen[-1].done == seen[-1].total == 3000 - 256

    class Enough(Exception):
        pass

    def stop(progress: bpe_rs.Progress) -> None:
        raise Enough

    for threads in [1, 2]:
        with pytest.raises(Enough):
            bpe_rs.train([text] * 50, vocab_size=3000, progress=stop, num_threads=threads)


def test_training_leaves_other_threads_running():
    text = "".join(f"word{i} " for i in range(300_000))
    beats = 0
    finished = threading.Event()

    def train() -> None:
        bpe_rs.train([text], vocab_size=5000, num_threads=1)
        finished.set()

    thread = threading.Thread(target=train)
    thread.start()
    while not finished.wait(0.001):
        beats += 1
    thread.join()
    assert beats > 3


def test_special_tokens_come_last_and_are_not_counted():
    texts = ["ab<|end|>ab<|end|>ab", "<|end|>"]
    encoding = bpe_rs.train(texts, vocab_size=258, special_tokens=["<|end|>"])
    assert encoding.decode_bytes([256, 257]) == b"ab<|end|>"
    assert encoding.encode("ab<|end|>ab", allowed_special="all") == [256, 257, 256]
    counts = bpe_rs.count_words(texts, special_tokens=["<|end|>"])
    assert counts.items() == [(b"ab", 3)]


def test_extending_an_encoding_goes_on_where_it_stopped():
    texts = ["the quick brown fox jumps over the lazy dog and runs away from it " * 3, "foxes run"]
    whole = bpe_rs.train(texts, vocab_size=300)
    half = bpe_rs.train(texts, vocab_size=280)
    extended = bpe_rs.train(texts, vocab_size=300, base=half)
    assert tokens_of(extended, 300) == tokens_of(whole, 300)

    gpt2 = bpe_rs.get_encoding("gpt2")
    text = "zyxwvut qqqzzz zyxwvut qqqzzz<|endoftext|>zyxwvut"
    more = bpe_rs.train([text], vocab_size=50_262, base=gpt2, special_tokens=["<|pad|>"])
    assert more.n_vocab == 50_262 and more.special_tokens["<|endoftext|>"] == 50_256
    assert more.special_tokens["<|pad|>"] == 50_261
    assert {id: more.decode_single_token_bytes(id) for id in range(50_256)} == {
        id: gpt2.decode_single_token_bytes(id) for id in range(50_256)
    }
    assert len(more.encode_ordinary("zyxwvut")) < len(gpt2.encode_ordinary("zyxwvut"))
    assert more.encode_ordinary("hello world") == gpt2.encode_ordinary("hello world")
    with pytest.raises(ValueError, match="at least 50258"):
        bpe_rs.train([text], vocab_size=50_257, base=gpt2, special_tokens=["<|pad|>"])
    with pytest.raises(ValueError, match="already"):
        bpe_rs.train([text], vocab_size=50_300, base=gpt2, special_tokens=["<|endoftext|>"])
    with pytest.raises(ValueError, match="pattern of base"):
        bpe_rs.train([text], vocab_size=50_300, base=gpt2, pattern="cl100k")


def test_an_alphabet_of_its_own():
    encoding = bpe_rs.train(["abab"], vocab_size=5, initial_alphabet=b"z")
    assert tokens_of(encoding, 5) == [b"a", b"b", b"z", b"ab", b"abab"]
    with pytest.raises(ValueError, match=r"at least 3 \(3 bytes"):
        bpe_rs.train(["abab"], vocab_size=2, initial_alphabet=b"z")
    assert bpe_rs.train(["abab"], vocab_size=5, initial_alphabet=np.array([122])).n_vocab == 5
    mistakes: list[Any] = [[300], [-1], "ab", ["a"]]
    for wrong in mistakes:
        with pytest.raises(ValueError, match="expected bytes, 0 to 255, in initial_alphabet"):
            bpe_rs.train(["abab"], vocab_size=300, initial_alphabet=wrong)


def test_texts_of_the_length_of_file_names_are_texts():
    text = "a text of some length, " * 20
    assert bpe_rs.count_words([text]).bytes == len(text)
    with pytest.raises(FileNotFoundError, match="pass it in a list"):
        bpe_rs.count_words(text)


def test_ctrl_c_stops_within_a_second(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        "import bpe_rs, signal, sys\n"
        # A shell's background job ignores the signal, and so would what it starts.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def texts():\n"
        "    print('started', flush=True)\n"
        "    while True:\n"
        "        yield 'some words that come again and again ' * 30000\n"
        "bpe_rs.train(texts(), vocab_size=300, num_threads=int(sys.argv[1]))\n"
    )
    for threads in ["1", "2"]:
        process = subprocess.Popen(
            [sys.executable, program, threads], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGINT)
        # Far more than a second: the machine may be busy. Never stopping is what fails.
        _, errors = process.communicate(timeout=60)
        assert b"KeyboardInterrupt" in errors and process.returncode != 0
