"""`make gpu-day`: its order, its limits, its resuming and its suggestion, without a GPU."""

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def gpu_day(monkeypatch) -> Any:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benches"))
    return importlib.import_module("gpu_day")


def test_correctness_comes_first_and_the_gluon_kernel_last(gpu_day):
    names = [task.name for task in gpu_day.TASKS]
    assert names[0] == "correct" and names[-1] == "attention: gptpy hopper"
    sanitizer = gpu_day.TASKS[names.index("sanitizer")]
    assert sanitizer.environment["TRITON_INSTRUMENTATION_MODE"] == "consan"
    assert names.index("sanitizer") < names.index("attention: gptpy hopper")
    assert all("GPTPY_HOPPER_KERNEL" not in t.environment for t in gpu_day.TASKS[:-3])


def fake_run(calls: list[str], fails: str | None = None):
    def run(command: list[str], timeout: float, **_rest: Any) -> Any:
        calls.append(command[2])
        if command[2] == fails:
            raise subprocess.TimeoutExpired(command, timeout)
        with Path(command[command.index("--rows") + 1]).open("a") as file:
            file.write(json.dumps({"what": "tokens", "name": command[2]}) + "\n")
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def test_an_interrupted_day_goes_on(gpu_day, monkeypatch, tmp_path, capsys):
    calls: list[str] = []
    monkeypatch.setattr(subprocess, "run", fake_run(calls, fails="attention: flex"))
    rows = gpu_day.spend(tmp_path, 540, False)
    assert len(calls) == len(gpu_day.TASKS) and len(rows) == len(calls) - 1
    assert "attention: flex: no end within 60 s" in capsys.readouterr().out
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"what": "att')  # a killed process
    calls.clear()
    monkeypatch.setattr(subprocess, "run", fake_run(calls))
    assert len(gpu_day.spend(tmp_path, 540, False)) == len(rows)
    assert calls == ["attention: flex"], "what is done is not done again"


def test_the_budget_holds(gpu_day, monkeypatch, tmp_path, capsys):
    limits: list[float] = []

    def run(command: list[str], timeout: float, **_rest: Any) -> Any:
        limits.append(timeout)
        return subprocess.CompletedProcess(
            command, 1, "", "Traceback\nRuntimeError: no such device"
        )

    monkeypatch.setattr(subprocess, "run", run)
    gpu_day.spend(tmp_path, 30, False)
    assert max(limits) <= 30
    gpu_day.spend(tmp_path, 1, False)
    assert "out of time; start again to go on" in capsys.readouterr().out
    assert json.loads((tmp_path / "tasks.jsonl").read_text().splitlines()[0])["ended"] == (
        "exit 1: RuntimeError: no such device"
    )


def attention(name: str, T: int, ms: float) -> dict[str, Any]:
    return {"what": "attention", "name": name, "D": 128, "T": T, "total_ms": ms}


def test_it_suggests_the_kernel_only_where_it_is_ahead_everywhere(gpu_day):
    rows = [attention("sdpa cudnn", T, 2.0) for T in (2048, 4096)]
    ahead = [*rows, attention("gptpy", 2048, 1.0), attention("gptpy", 4096, 1.9)]
    assert gpu_day.suggestion(ahead, "hopper", "a.jsonl") == 'MEASURED_AHEAD["hopper"] = "a.jsonl"'
    behind = [*rows, attention("gptpy", 2048, 1.0), attention("gptpy", 4096, 2.1)]
    assert "SDPA is ahead at 1 of 2 sizes" in gpu_day.suggestion(behind, "hopper", "a.jsonl")
    wrong = [*ahead, {"what": "correct", "feature": "window", "wrong": True}]
    assert "1 answers were wrong" in gpu_day.suggestion(wrong, "hopper", "a.jsonl")
    assert "nothing to compare" in gpu_day.suggestion(rows, "hopper", "a.jsonl")
