"""The examples that count words in several processes: the same counts as in one process."""

import shutil
import subprocess
import sys
from pathlib import Path

import bpe_rs
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TEXTS = [f"file {i}: the quick brown fox, the lazy dog and {i} words more\n" * 20 for i in range(5)]


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "shards"
    folder.mkdir()
    for i, text in enumerate(TEXTS):
        (folder / f"{i}.txt").write_text(text)
    return sorted(folder.iterdir())


def run(*command: object) -> str:
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_ranks_of_torchrun(shards: list[Path], tmp_path: Path):
    pytest.importorskip("torch")
    out = tmp_path / "out"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    printed = run(*torchrun, EXAMPLES / "count_torchrun.py", shards[0].parent, out, "--vocab", 300)
    assert "rank 0 of 2: 3 files" in printed and "rank 1 of 2: 2 files" in printed
    assert (out / "all.counts").read_bytes() == bpe_rs.count_words(shards).to_bytes()
    bpe_rs.train(shards, vocab_size=300).save(tmp_path / "tokens.tiktoken")
    ours, theirs = tmp_path / "tokens.tiktoken", out / "tokens.tiktoken"
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_tree_of_processes(shards: list[Path], tmp_path: Path):
    out = tmp_path / "all.counts"
    run(EXAMPLES / "count_tree.py", *shards, "--out", out, "--processes", 2)
    assert out.read_bytes() == bpe_rs.count_words(shards).to_bytes()


def test_partitions_of_spark(shards: list[Path], tmp_path: Path):
    pytest.importorskip("pyspark", reason="uv sync --group engines installs it")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, and there is no java on PATH")
    out = tmp_path / "out"
    settings = ["--master", "local[2]", "--partitions", 7, "--vocab", 300]
    printed = run(EXAMPLES / "count_spark.py", *shards, "--out", out, *settings)
    # More partitions than files, so that some are empty.
    assert "7 partitions on local[2]" in printed
    assert (out / "all.counts").read_bytes() == bpe_rs.count_words(shards).to_bytes()
    bpe_rs.train(shards, vocab_size=300).save(tmp_path / "tokens.tiktoken")
    ours, theirs = tmp_path / "tokens.tiktoken", out / "tokens.tiktoken"
    assert ours.read_bytes() == theirs.read_bytes()
