"""`gptpy eval`: training's own figures, shared work; sizes that no machine can hold are refused."""

import json
import math

import numpy as np
import pytest

from gptpy import load
from gptpy.cli import main
from gptpy.data.prepared import open_prepared
from gptpy.data.text import python_prose
from gptpy.devices import processes
from gptpy.devices.processes import World
from gptpy.evaluation.loss import evaluate
from gptpy.tokenizer import published

SETTINGS = {
    "model.n_layer": 1,
    "model.n_embd": 16,
    "model.n_head": 2,
    "model.block_size": 16,
    "train.steps": 2,
    "train.batch_size": 2,
    "train.dtype": "float32",
    "train.compile": "off",
}
OPTIONS = [word for key, value in SETTINGS.items() for word in (f"--{key}", str(value))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    (folder / "text.txt").write_bytes(python_prose()[:20000])
    sources = ["--data.sources", str(folder / "text.txt"), "--data.tokenizer", "bytes:280"]
    assert main(["train", "-o", str(folder / "run"), *sources, *OPTIONS]) == 0
    return folder / "run"


def scored(capsys, *words) -> dict:
    capsys.readouterr()
    assert main(["eval", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_figures_are_those_of_training(run, capsys):
    summary = json.loads((run / "summary.json").read_text())
    found = scored(capsys, run, "--stride", 16)
    assert found["val_loss"] == pytest.approx(summary["val_loss"], rel=1e-6)
    assert found["tokens"] == summary["val_tokens"]
    assert scored(capsys, run)["stride"] == 4


def test_processes_share_the_windows_and_the_first_prints(run, capsys, monkeypatch):
    whole = scored(capsys, run)
    sums: list[float] = []

    class Rank(World):
        def sum(self, value, device):
            sums.append(value)
            return value

    for rank in range(2):
        monkeypatch.setattr(processes, "join_world", lambda device, rank=rank: Rank(rank, 2))
        capsys.readouterr()
        assert main(["eval", str(run)]) == 0
        assert bool(capsys.readouterr().out) == (rank == 0)
    total = sum(sums) + math.log(280)
    assert total == pytest.approx(whole["val_loss"] * whole["tokens"], rel=1e-6)


def test_an_imported_model_gets_its_beginning_before_windows(run, capsys, monkeypatch):
    monkeypatch.setattr(published, "begin_ids", lambda folder: (7,))
    ids = open_prepared(run / "data").validation.joined()
    model = load(run, device="cpu").model
    expected = evaluate(model, np.asarray(ids), stride=4, beginning=(7,)).loss
    assert scored(capsys, run)["val_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "setting",
    [
        "--model.n_layer 99999999999999999999",
        "--model.block_size 99999999999999999999",
        "--model.n_embd 99999999999999999998",
        "--model.n_hidden 99999999999999999999",
        "--train.batch_size 99999999999999999999",
        "--lora.rank 99999999999999999999",
    ],
)
def test_what_this_machine_cannot_hold_is_one_line_with_its_memory(run, capsys, setting):
    words = ["train", str(run / "data"), "-o", str(run.parent / "huge"), *OPTIONS]
    assert main([*words, *setting.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gptpy: error: ") and error.count("\n") == 1
    assert "GB of memory" in error and not (run.parent / "huge").exists()


def test_one_document_is_one_document(run, capsys):
    capsys.readouterr()
    text = str(run.parent / "text.txt")
    assert main(["prepare", text, "--tokenizer", str(run), "-o", str(run.parent / "data")]) == 0
    assert " of 1 document to train on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("--train.seed 99999999999999999999", "train.seed: expected an integer in ["),
        ("--train.eval_stride 17", "train.eval_stride 17"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(run, capsys, setting, message):
    words = ["train", str(run / "data"), "-o", str(run.parent / "odd"), *OPTIONS]
    assert main([*words, *setting.split()]) == 2
    assert message in capsys.readouterr().err and not (run.parent / "odd").exists()
