"""`make gpu-bench` and `make gpu-check` on a machine without a GPU: what can be known there."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """A command in a fresh process that finds the packages by itself, as on the GPU machine."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TRITON", "GPTPY"))}
    return subprocess.run(
        [sys.executable, *words], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )


def test_bench_goes_through_every_step_in_the_interpreter(kernel_device):
    if kernel_device.type != "cpu":
        pytest.skip("a dry run is for machines without a GPU")
    before = sorted((REPOSITORY / "benches" / "records").iterdir())
    done = run("benches/gpu_bench.py", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    for start in (
        "| gptpy | 16 | 48 |", "| sdpa math | 16 | 48 |", "| 1 | 40 |", "| cross entropy |",
        "| rms norm + residual |", "| rope |", "| swiglu |", "| sdpa, plain formulas |",
        "| our attention + all |",
    ):  # fmt: skip
        assert any(row.startswith(start) for row in rows), start
    assert "wrong" not in done.stdout and "Error" not in done.stdout
    assert "the times above are not measurements; none recorded" in done.stdout
    assert sorted((REPOSITORY / "benches" / "records").iterdir()) == before


def test_bench_refuses_a_wrong_kernel(kernel_device, monkeypatch):
    """A kernel whose answer is wrong gets no figure."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benches"))
    attention_peers = importlib.import_module("attention_peers")
    device = kernel_device.type
    right = attention_peers.ours(hopper=False)
    assert attention_peers.error_against_plain(right, 16, device, 40) < 1.5e-2

    def wrong(q, k, v):
        return right(q, k, v.roll(1, dims=1))

    assert attention_peers.error_against_plain(wrong, 16, device, 40) > 0.1


@pytest.mark.parametrize("command", ["benches/gpu_bench.py", "benches/gpu_check.py"])
def test_without_a_gpu_they_say_so(command, kernel_device):
    if kernel_device.type != "cpu":
        pytest.skip("there is a GPU")
    done = run(command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CUDA" in done.stdout or "GPU" in done.stdout
    assert "nothing measured" in done.stdout or "no GPU tests run" in done.stdout
