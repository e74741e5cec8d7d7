"""Sources that other projects bring: data sets of Hugging Face on disk, tasks on a Ray cluster."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptpy.cli import main
from gptpy.data import DataError
from gptpy.data.prepare import PrepareOptions, prepare
from gptpy.data.prepared import open_prepared
from gptpy.data.sources import documents, list_slices
from gptpy.tokenizer import open_tokenizer

pytestmark = pytest.mark.clients

TEXTS = [f"document {i} " + "é" * (i * 7 % 50) for i in range(200)]


@pytest.fixture
def datasets() -> Any:
    return pytest.importorskip("datasets")


def collect(spec: str, slice_bytes: int = 1 << 28, field: str = "text") -> list[list[str]]:
    return [list(documents(piece, field=field)) for piece in list_slices([spec], slice_bytes)]


def test_a_saved_data_set(datasets: Any, tmp_path: Path) -> None:
    saved = datasets.Dataset.from_dict({"text": TEXTS, "n": list(range(200))})
    saved.save_to_disk(tmp_path / "one")
    assert collect(f"hf:{tmp_path / 'one'}") == [TEXTS]
    parts = collect(f"hf:{tmp_path / 'one'}", slice_bytes=1000)
    assert len(parts) > 3 and [text for part in parts for text in part] == TEXTS
    both = datasets.DatasetDict({"train": saved, "test": saved.select(range(7))})
    both.save_to_disk(tmp_path / "two")
    assert collect(f"hf:{tmp_path / 'two'}:test") == [TEXTS[:7]]
    assert collect(f"hf:{tmp_path / 'two'}") == [TEXTS]
    with pytest.raises(DataError, match="has no split 'nope', there are train, test"):
        collect(f"hf:{tmp_path / 'two'}:nope")
    with pytest.raises(DataError, match="expected a text under 'body', found keys"):
        collect(f"hf:{tmp_path / 'one'}", field="body")


def test_a_folder_of_files_is_streamed_file_by_file(datasets: Any, tmp_path: Path) -> None:
    for number in range(3):
        lines = [json.dumps({"text": text}) for text in TEXTS[number::3]]
        (tmp_path / f"train-{number}.jsonl").write_text("\n".join(lines) + "\n")
    assert collect(f"hf:{tmp_path}") == [TEXTS[number::3] for number in range(3)]


def test_a_name_that_cannot_be_had_is_one_line(datasets: Any) -> None:
    with pytest.raises(DataError, match=r"^hf:nobody/nothing@de: cannot be opened: ") as error:
        collect("hf:nobody/nothing@de")
    assert "\n" not in str(error.value)


def test_a_data_set_prepared_equals_its_texts_prepared(datasets: Any, tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(tmp_path / "saved")
    lines = "\n".join(json.dumps({"text": text}) for text in TEXTS)
    (tmp_path / "same.jsonl").write_text(lines)
    found = []
    for number, source in enumerate((f"hf:{tmp_path / 'saved'}", str(tmp_path / "same.jsonl"))):
        out = tmp_path / f"out{number}"
        options = ["--tokenizer", "gpt2", "-o", str(out), "--slice-mb", "0.002"]
        assert main(["prepare", source, *options]) == 0
        data = open_prepared(out)
        found.append((data.train.joined().tolist(), data.validation.joined().tolist()))
    assert found[0] == found[1] and len(found[0][1]) > 10


def test_ray_prepares_what_one_process_does(tmp_path: Path) -> None:
    """As a command of its own, which takes Ray's services with it when it has to be stopped."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("there is no ray")
    lines = "\n".join(json.dumps({"text": text}) for text in TEXTS)
    (tmp_path / "texts.jsonl").write_text(lines)
    source, out = str(tmp_path / "texts.jsonl"), tmp_path / "ray"
    options = PrepareOptions(slice_bytes=3000)
    prepare([source], open_tokenizer("gpt2"), tmp_path / "one", options)
    command = [sys.executable, "-m", "gptpy", "prepare", source, "--tokenizer", "gpt2"]
    command += ["-o", str(out), "--ray", "--slice-mb", "0.003"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "slice 3 of" in done.stdout
    expected, found = open_prepared(tmp_path / "one"), open_prepared(out)
    assert len(found.train.shards) == len(expected.train.shards) > 2
    assert np.array_equal(found.train.joined(), expected.train.joined())
    assert np.array_equal(found.validation.joined(), expected.validation.joined())
