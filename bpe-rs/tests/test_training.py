"""`bpe_rs.train` against the reference implementation and against `tokenizers`."""

from __future__ import annotations

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
from reference_training import byte_order, reference_train, words_of

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
def test_random_corpora_give_the_tokens_of_the_reference(tie_break, tmp_path: Path):
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
        expected = reference_train(words, size, tie_break, **options)
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
        # Their limit is exclusive, except for pairs of single bytes.
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
        assert tokens_of(encoding, 260) == reference_train(words, 260, tie_break)
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


def test_order_of_first_occurrence_survives_merging():
    texts = ["zz yy xx", "ww zz vv", "uu yy"]
    merged = bpe_rs.count_words(texts[:1])
    merged.merge(bpe_rs.count_words(texts[1:2]), bpe_rs.count_words(texts[2:]))
    options: dict[str, Any] = {"vocab_size": 262, "tie_break": "first_seen"}
    expected = reference_train(words_of(texts), 262, "first_seen")
    assert tokens_of(bpe_rs.train(merged, **options), 262) == expected
    for threads in [1, 2, 16]:
        encoding = bpe_rs.train(texts, num_threads=threads, **options)
        assert tokens_of(encoding, 262) == expected


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
    fails(ValueError, "line 2: offset 14.*no field 'text', only body", source=tmp_path / "a.jsonl")
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


def test_ctrl_c_stops_within_a_second(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        "import bpe_rs, signal, sys\n"
        # Background jobs of a shell ignore SIGINT, and so do their children by default.
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
        # Generous, because the machine may be busy; the failure to find is never stopping.
        _, errors = process.communicate(timeout=60)
        assert b"KeyboardInterrupt" in errors and process.returncode != 0
