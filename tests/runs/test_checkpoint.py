"""Checkpoints: whole or absent; found by run, folder or step; errors reach every process."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from gptpy.devices.processes import World
from gptpy.runs import checkpoint, sharded
from gptpy.runs.checkpoint import CheckpointError
from gptpy.storage import atomic

TENSORS = {"model": {"w": torch.arange(6.0).reshape(2, 3).t()}, "optimizer": {"w|m": torch.ones(2)}}


def test_what_is_saved_comes_back(tmp_path):
    folder = checkpoint.save(tmp_path, 7, tensors=TENSORS, state={"tokens": 5})
    assert checkpoint.find(tmp_path) == folder == checkpoint.find(folder)
    assert checkpoint.run_of(folder) == tmp_path.resolve()
    assert checkpoint.read_state(folder)["tokens"] == 5
    assert torch.equal(checkpoint.read_tensors(folder, "model")["w"], TENSORS["model"]["w"])


def test_steps_are_numbers_not_words(tmp_path):
    for step in (2, 10, 9):
        checkpoint.save(tmp_path, step, tensors=TENSORS, state={})
    assert checkpoint.steps(tmp_path) == [2, 9, 10]
    assert checkpoint.find(tmp_path).name == "step-10"
    assert checkpoint.find(tmp_path, 2).name == "step-2"
    checkpoint.prune(tmp_path, 1, keep=[2])
    assert checkpoint.steps(tmp_path) == [2, 10]


def test_a_half_written_checkpoint_is_not_found(tmp_path):
    checkpoint.save(tmp_path, 1, tensors=TENSORS, state={})
    cut = tmp_path / "checkpoints" / "step-2"
    cut.mkdir()
    (cut / "model.safetensors").write_bytes(b"")
    assert checkpoint.steps(tmp_path) == [1]


def test_what_a_killed_process_left_is_cleared(tmp_path):
    checkpoint.save(tmp_path, 1, tensors=TENSORS, state={})
    replaced = checkpoint.save(tmp_path, 2, tensors=TENSORS, state={"tokens": 2})
    folder = replaced.parent
    replaced.rename(folder / ".step-2.99.old")  # killed between two renames
    for name in (".step-2.99.tmp", ".step-3.99.tmp", ".step-3.shards.tmp", ".step-1.98.old"):
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_bytes(b"half")
    atomic.clear_leftovers(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["step-1", "step-2"]
    assert checkpoint.read_state(checkpoint.find(tmp_path))["tokens"] == 2


def test_errors_name_what_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match="no such run directory"):
        checkpoint.find(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoint.find(tmp_path)
    folder = checkpoint.save(tmp_path, 1, tensors=TENSORS, state={})
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 5; there are \[1\]"):
        checkpoint.find(tmp_path, 5)
    (folder / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read"):
        checkpoint.read_tensors(folder, "model")
    (folder / "state.json").write_text('{"format": 99}')
    with pytest.raises(CheckpointError, match="format 99"):
        checkpoint.read_state(folder)


class Meeting:
    """A vote that two processes, here threads, wait for together, for seconds at most."""

    def __init__(self) -> None:
        self.arrived = threading.Barrier(2, timeout=2)
        self.said = [False, False]


@dataclass(frozen=True)
class Half(World):
    """One of two processes whose collectives work on the weights' device only."""

    voting: Meeting = field(default_factory=Meeting)
    resting: Meeting = field(default_factory=Meeting)

    def any(self, value, device):
        assert device.type == "meta"
        self.voting.said[self.rank] = value
        self.voting.arrived.wait()
        result = any(self.voting.said)
        self.voting.arrived.wait()
        return result

    def barrier(self):
        self.resting.arrived.wait()


@pytest.mark.parametrize("fails", ["folders", "shapes", "name"])
def test_a_failure_on_the_main_process_alone_is_raised_on_all(tmp_path, monkeypatch, fails):
    voting, resting, writing = Meeting(), Meeting(), Meeting()
    main = threading.local()

    def write(folder: Path, members: object) -> None:
        writing.arrived.wait()  # a collective, as in torch's
        if fails == "shapes" and main.here and folder.name == "model":
            raise OSError(28, "No space left on device")

    def save(rank: int) -> str:
        main.here = rank == 0
        world = Half(rank, 2, voting=voting, resting=resting)
        tensors = {name: {"w": torch.empty(2, device="meta")} for name in ("model", "optimizer")}
        with pytest.raises(CheckpointError) as raised:
            checkpoint.save_shards(tmp_path, 1, tensors=tensors, state={}, world=world)
        return str(raised.value)

    monkeypatch.setattr(sharded, "write", write)
    if fails == "folders":
        (tmp_path / "checkpoints").write_text("a file where the folder should be")
    if fails == "name":
        monkeypatch.setattr(atomic, "take_name", lambda *paths: (tmp_path / "no").rename("there"))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(save, range(2))
    reason = {"folders": ".step-1.shards.tmp", "shapes": "No space left", "name": "No such file"}[
        fails
    ]
    assert "step-1 could not be written" in first and reason in first
    assert "another process failed" in second
    assert not list(tmp_path.glob("checkpoints/*"))


def test_reading_a_checkpoint_in_one_process_loads_nothing_for_many():
    """Loading torch's sharded tensors and checkpoints would double the start-up of a command."""
    code = (
        "import sys, gptpy.runs.opening, gptpy.inference.text, gptpy.evaluation.loss; "
        "print([m for m in ('torch.distributed.tensor', 'torch.distributed.checkpoint', "
        "'torch._dynamo') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
