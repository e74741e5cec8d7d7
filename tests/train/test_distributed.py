"""Two processes train as one does: same losses, same samples, each other's checkpoints.

All runs of two processes happen in one `torchrun`, which the fixture `both` waits for.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gptpy.cli import main
from gptpy.devices.processes import World
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics

WORKER = Path(__file__).with_name("distributed_worker.py")
STEPS, SAMPLES = 6, 48
TOGETHER = {
    "ddp": {"kind": "ddp"},
    "ddp-accumulating": {"kind": "ddp", "micro": 2},
    "fsdp": {"kind": "fsdp"},
    "fsdp-accumulating": {"kind": "fsdp", "micro": 2},
    # A checkpoint, too, would drop the averaged weights that an evaluation gathered
    "fsdp-unsaved": {"kind": "fsdp", "saves": False},
    "ddp-compiled": {"kind": "ddp", "micro": 2, "compiled": True},
    "fsdp-compiled": {"kind": "fsdp", "micro": 2, "compiled": True},
    "ddp-lora": {"kind": "ddp", "lora": True},
    "fsdp-lora": {"kind": "fsdp", "micro": 2, "lora": True},
}
# Whose checkpoint of step 3, and how two processes go on with it
RESUMED = {
    "one-to-ddp": ("one", "ddp"),
    "one-to-fsdp": ("one", "fsdp"),
    "ddp-to-fsdp": ("ddp", "fsdp"),
    "fsdp-to-ddp": ("fsdp", "ddp"),
    "fsdp-to-fsdp": ("fsdp", "fsdp"),
}


def worker() -> Any:
    spec = importlib.util.spec_from_file_location("distributed_worker", WORKER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def torchrun(*arguments: object) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Path, list[dict[str, Any]]]:
    """A folder of runs, by one process and by two, and what each of the two processes read."""
    folder = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    local = worker()
    alone = local.work(World(), folder / "one")
    assert alone["seen"] == list(range(SAMPLES))
    local.work(World(), folder / "one-lora", lora=True)
    jobs: dict[str, dict[str, Any]] = {**TOGETHER, "full": {"kind": "fsdp", "fail": 1}}
    jobs |= {name: {"kind": kind, "resumes": source} for name, (source, kind) in RESUMED.items()}
    torchrun(WORKER, folder, json.dumps(jobs))
    for name in ("ddp", "fsdp"):
        local.cut(folder / name, folder / f"{name}-to-one")
        back = local.work(World(), folder / f"{name}-to-one", resume=True)
        assert back["seen"] == list(range(SAMPLES // 2, SAMPLES))
    torch.set_num_threads(threads)
    return folder, [json.loads((folder / f"seen.{rank}.json").read_text()) for rank in range(2)]


def losses(folder: Path, name: str, kind: str = "step") -> list[float]:
    key = "loss" if kind == "step" else "val_loss"
    rows = read_metrics(folder / name / "metrics.jsonl")
    return [row[key] for row in rows if row["kind"] == kind]


@pytest.mark.parametrize("name", TOGETHER)
def test_two_processes_are_one(both, name):
    folder, (one, two) = both
    assert not any("does not work" in text for text in one[name]["messages"])
    alone = "one-lora" if name.endswith("lora") else "one"
    expected = losses(folder, alone)
    assert len(expected) == STEPS and expected[-1] < expected[0]
    assert losses(folder, name) == pytest.approx(expected, rel=1e-5)
    # of averaged weights
    assert losses(folder, name, "eval") == pytest.approx(losses(folder, alone, "eval"), rel=1e-5)
    assert sorted(one[name]["seen"] + two[name]["seen"]) == list(range(SAMPLES))
    weights = checkpoint.read_tensors(checkpoint.find(folder / alone), "model")
    found = checkpoint.read_tensors(checkpoint.find(folder / name), "model")
    assert found.keys() == weights.keys()
    for key, tensor in weights.items():
        torch.testing.assert_close(found[key], tensor, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", [*RESUMED, "ddp-to-one", "fsdp-to-one"])
def test_a_checkpoint_resumes_on_another_number_of_processes(both, name):
    folder, (one, two) = both
    assert losses(folder, name) == pytest.approx(losses(folder, "one"), rel=1e-5)
    if name in RESUMED:
        seen = sorted(one[name]["seen"] + two[name]["seen"])
        assert seen == list(range(SAMPLES // 2, SAMPLES)), "no sample twice, none left out"


def test_resuming_on_as_many_processes_is_exact(both):
    folder, _ = both
    whole, resumed = (checkpoint.find(folder / name) for name in ("fsdp", "fsdp-to-fsdp"))
    for kind in ("model", "optimizer", "ema"):
        expected = checkpoint.read_tensors(whole, kind)
        found = checkpoint.read_tensors(resumed, kind)
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


def test_spread_weights_are_never_gathered_nor_pickled(both):
    folder, _ = both
    saved = checkpoint.find(folder / "fsdp")
    files = sorted(
        path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()
    )
    kinds = [Path(name).suffix for name in files]
    assert kinds.count(".safetensors") == 3 * 2, "each process its part of weights, moments, ema"
    assert kinds.count(".json") == 1 + 3 and len(kinds) == 10, files
    whole = sum(tensor.nbytes for tensor in checkpoint.read_tensors(saved, "model").values())
    parts = [path.stat().st_size for path in (saved / "model").iterdir()]
    assert max(parts) < 0.6 * whole + 20_000  # a header names the tensors
    sorted((saved / "model").glob("*.safetensors"))[-1].unlink()
    with pytest.raises(checkpoint.CheckpointError, match="a shard file is missing"):
        checkpoint.read_tensors(saved, "model")


def test_one_process_with_a_full_disk_loses_nothing(both):
    folder, (one, _) = both
    assert checkpoint.steps(folder / "full") == [STEPS]
    assert sorted(path.name for path in (folder / "full" / "checkpoints").iterdir()) == ["step-6"]
    assert any("No space left" in text for text in one["full"]["messages"])
    assert losses(folder, "full") == losses(folder, "fsdp")


def test_a_sharded_encoder_decoder_is_the_whole_one(both):
    _, processes = both
    for found in (process["translate"] for process in processes):
        assert found.pop("in blocks") == 1
        assert found == pytest.approx({"memory": 0, "loss": 0, "gradient": 0}, abs=1e-5)


def test_a_model_is_sharded_without_ever_being_whole_elsewhere(both):
    _, processes = both
    for found in (process["from meta"] for process in processes):
        assert found["weights"] == 0 and found["loss"] < 1e-5 and 0.4 < found["sharded"] < 0.6


@pytest.mark.slow
def test_the_command_line_under_torchrun(tmp_path):
    """Prepared, trained, evaluated and sampled by two processes, gone on with by one."""
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 400)
    data, run = tmp_path / "data", tmp_path / "run"
    torchrun("-m", "gptpy", "prepare", tmp_path / "text.txt", "--tokenizer", "gpt2", "-o", data)
    tiny = {"model.n_layer": 1, "model.n_embd": 32, "model.n_head": 2, "model.n_kv_head": 2}
    tiny |= {"model.block_size": 16, "train.batch_size": 4, "train.steps": 4, "train.device": "cpu"}
    tiny |= {"train.eval_every": 2, "train.sample_every": 4, "train.sample_tokens": 3}
    tiny |= {"train.parallel": "fsdp", "train.optim.name": "muon", "train.log_every": 1}
    words = [word for key, value in tiny.items() for word in (f"--{key}", value)]
    torchrun("-m", "gptpy", "train", data, "--preset", "modern-1m", "-o", run, *words)
    assert (run / "samples.txt").read_text().startswith("--- step 4")
    assert len(losses(tmp_path, "run", "eval")) == 2
    main(["train", "--resume", "-o", str(run), "--train.steps", "6"])
    rows = list(read_metrics(run / "metrics.jsonl"))
    assert [row["step"] for row in rows if row["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert main(["generate", str(run), "-p", "The", "-n", "2"]) == 0
