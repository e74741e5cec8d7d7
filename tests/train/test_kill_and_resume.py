"""A run that is killed at random moments and resumed ends with the same bits.

GPTPY_KILL_TRIALS sets how often the run is killed (default 3; the published log is of 20).
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics

WORKER = Path(__file__).with_name("kill_worker.py")
TRIALS = int(os.environ.get("GPTPY_KILL_TRIALS", "3"))
# The run is killed after 0 to 15 more saves, so that twenty kills fit on a machine of any speed
STEPS = 20 * TRIALS


def start(run: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(WORKER), str(run), str(STEPS)])


def last_step(run: Path) -> int:
    return max(checkpoint.steps(run), default=0)


def files(run: Path) -> dict[str, bytes]:
    folder = checkpoint.find(run, STEPS)
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_runs_end_where_the_whole_one_does(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole).wait(timeout=1800) == 0
    chance = random.Random(0)
    for trial in range(1, TRIALS + 1):
        before = last_step(killed)
        wanted = before + 1 + chance.randrange(16)
        process = start(killed)
        while last_step(killed) < wanted and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))  # anywhere in a step, a save, a rename
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was still running"
        left = [path.name for path in (killed / "checkpoints").iterdir() if path.name[0] == "."]
        print(f"trial {trial}: {before} -> {last_step(killed)}, half-written: {left or 'nothing'}")
    assert start(killed).wait(timeout=1800) == 0
    assert files(killed) == files(whole)
    rows = [
        [(row["step"], row["loss"]) for row in read_metrics(run / "metrics.jsonl")]
        for run in (whole, killed)
    ]
    assert rows[0] == rows[1] and len(rows[0]) == STEPS
    kept = [path.name for path in (killed / "checkpoints").iterdir()]
    assert not [name for name in kept if name.startswith(".")], "half-written ones are cleared"
    print(
        f"{TRIALS} kills, {STEPS} steps: weights, optimizer, average and losses bit for bit equal"
    )
