"""SIGKILL at random moments, resume, and in the end the very same bits.

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

from gptpy import checkpoint
from gptpy.train.metrics import read_metrics

WORKER = Path(__file__).with_name("kill_worker.py")
TRIALS = int(os.environ.get("GPTPY_KILL_TRIALS", "3"))
STEPS = 60 * TRIALS


def start(run: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(WORKER), str(run), str(STEPS)])


def files(run: Path) -> dict[str, bytes]:
    folder = checkpoint.find(run, STEPS)
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@pytest.mark.slow
def test_killed_runs_end_where_the_whole_one_does(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole).wait(timeout=600) == 0
    chance = random.Random(0)
    kills = []
    while len(kills) < TRIALS:
        before = max(checkpoint.steps(killed), default=0)
        if before >= STEPS - 5:
            break
        process = start(killed)
        while max(checkpoint.steps(killed), default=0) == before and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.5))  # anywhere in a step, a save, a rename
        process.send_signal(signal.SIGKILL)
        assert process.wait() in (-signal.SIGKILL, 0)
        kills.append(max(checkpoint.steps(killed), default=0))
    print(f"killed after steps {kills}")
    assert start(killed).wait(timeout=600) == 0
    assert files(killed) == files(whole)
    rows = [
        [(row["step"], row["loss"]) for row in read_metrics(run / "metrics.jsonl")]
        for run in (whole, killed)
    ]
    assert rows[0] == rows[1] and len(rows[0]) == STEPS
