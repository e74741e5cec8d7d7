"""Prepared data: complete, the same however the work is divided, never mixed with another job's."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gptpy.data import DataError, IdWriter
from gptpy.data.prepare import PrepareOptions, prepare
from gptpy.data.prepared import open_prepared
from gptpy.runs.progress import Silent
from gptpy.tokenizer import end_of_text, open_tokenizer

MARK = "<|endoftext|>"


@pytest.fixture(scope="module")
def tokenizer():
    return open_tokenizer("gpt2")


@pytest.fixture
def texts(tmp_path):
    documents = [f"Document number {i}. " * (i % 7 + 1) for i in range(120)]
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text(MARK.join(documents[:60]))
    lines = "\n".join(json.dumps({"text": text}) for text in documents[60:])
    (folder / "b.jsonl").write_text(lines)
    return folder, documents


class Messages(Silent):
    def __init__(self):
        self.texts: list[str] = []

    def on_message(self, text):
        self.texts.append(text)


OPTIONS = PrepareOptions(separator=MARK, slice_bytes=1000, validation=0.2)


def decoded(split, tokenizer) -> list[str]:
    end = end_of_text(tokenizer)
    found = []
    for shard in split.shards:
        row = np.asarray(shard)
        assert row[-1] == end
        parts = np.split(row, np.flatnonzero(row == end) + 1)[:-1]
        found += [tokenizer.decode([int(i) for i in part[:-1]]) for part in parts]
    return found


def test_every_document_lands_in_one_split(texts, tokenizer, tmp_path):
    folder, documents = texts
    assert prepare([str(folder)], tokenizer, tmp_path / "out", OPTIONS)
    data = open_prepared(tmp_path / "out")
    train, validation = (decoded(s, tokenizer) for s in (data.train, data.validation))
    assert sorted(train + validation) == sorted(documents)
    assert not set(train) & set(validation)
    assert 0 < len(validation) < len(train)
    assert data.train.documents == len(train)
    assert data.train.bytes == sum(len(text.encode()) for text in train)


def ids_of(folder) -> tuple[list[int], list[int]]:
    data = open_prepared(folder)
    return data.train.joined().tolist(), data.validation.joined().tolist()


def test_ranks_share_the_work_and_a_killed_one_is_started_again(texts, tokenizer, tmp_path):
    folder, _ = texts
    prepare([str(folder)], tokenizer, tmp_path / "one", OPTIONS)
    out = tmp_path / "two"
    # The second process is killed after its first slice
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from gptpy.data.prepare import PrepareOptions, prepare\n"
        "from gptpy.runs.progress import Silent\n"
        "from gptpy.tokenizer import open_tokenizer\n"
        "class Killer(Silent):\n"
        "    def on_message(self, text):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"options = PrepareOptions(separator={MARK!r}, slice_bytes=1000, validation=0.2)\n"
        f"prepare([{str(folder)!r}], open_tokenizer('gpt2'), Path({str(out)!r}), options,\n"
        "        rank=1, world_size=2, reporter=Killer())\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -9
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("*.ids")}
    assert done
    assert not prepare([str(folder)], tokenizer, out, OPTIONS, rank=0, world_size=2)
    with pytest.raises(DataError, match=r"not a prepared data set \(no manifest"):
        open_prepared(out)
    heard = Messages()
    assert prepare([str(folder)], tokenizer, out, OPTIONS, rank=1, world_size=2, reporter=heard)
    assert "is done already" in heard.texts[0]
    assert all((out / name).stat().st_mtime_ns == when for name, when in done.items())
    assert ids_of(out) == ids_of(tmp_path / "one")


def test_slicing_changes_nothing_but_the_shards(texts, tokenizer, tmp_path):
    folder, _ = texts
    whole = PrepareOptions(separator=MARK, validation=0.2)
    prepare([str(folder)], tokenizer, tmp_path / "fine", OPTIONS)
    prepare([str(folder)], tokenizer, tmp_path / "whole", whole)
    assert ids_of(tmp_path / "fine") == ids_of(tmp_path / "whole")


def test_one_document_is_cut_at_its_end(tokenizer, tmp_path):
    (tmp_path / "t.txt").write_text("é" * 1000)
    prepare([str(tmp_path / "t.txt")], tokenizer, tmp_path / "out")
    data = open_prepared(tmp_path / "out")
    assert (data.train.bytes, data.validation.bytes) == (1800, 200)


def test_a_folder_belongs_to_one_job(texts, tokenizer, tmp_path):
    folder, _ = texts
    out = tmp_path / "out"
    prepare([str(folder)], tokenizer, out, OPTIONS)
    with pytest.raises(DataError, match=r"other options: separator = '.*', not None; valid.* 0\.2"):
        prepare([str(folder)], tokenizer, out)
    other = open_tokenizer("cl100k_base")
    both = f"{tokenizer.fingerprint[:12]}, not this one, {other.fingerprint[:12]}"
    with pytest.raises(DataError, match=f"another tokenizer, {both}"):
        prepare([str(folder)], other, out, OPTIONS)
    with pytest.raises(DataError, match=r"other sources: \d+ slices?, not \d+"):
        prepare([str(folder / "a.txt")], tokenizer, out, OPTIONS)
    (folder / "a.txt").write_text("changed")
    with pytest.raises(DataError, match=r"other sources: .*a\.txt: .*size \d+, not 7"):
        prepare([str(folder)], tokenizer, out, OPTIONS)


def test_damage_is_named(texts, tokenizer, tmp_path):
    folder, _ = texts
    out = tmp_path / "out"
    prepare([str(folder)], tokenizer, out, OPTIONS)
    manifest = (out / "manifest.json").read_text()
    shard = sorted(out.glob("train-*.ids"))[0]
    whole = shard.read_bytes()
    with IdWriter(shard, np.dtype("<u2"), tokenizer.fingerprint) as file:
        file.write(np.arange(3))
    with pytest.raises(DataError, match="holds 3 ids, the manifest says"):
        open_prepared(out)
    with IdWriter(shard, np.dtype("<u2"), "00" * 32) as file:
        file.write(np.arange(3))
    with pytest.raises(DataError, match="written with tokenizer 000000000000"):
        open_prepared(out)
    shard.write_bytes(whole)
    (out / "manifest.json").write_text(manifest.replace("50257", "70000"))
    with pytest.raises(DataError, match="ids of 2 bytes, the manifest's vocabulary needs 4"):
        open_prepared(out)
    (out / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        open_prepared(out)
