"""`make gpu-day`: its order, its limits, its resuming and its suggestion, without a GPU."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
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


def fake_task(calls: list[str], ends: dict[str, str] | None = None):
    def run(task: Any, rows: Path, seconds: float, dry_run: bool) -> dict[str, Any]:
        calls.append(task.name)
        ended = (ends or {}).get(task.name, "done")
        with rows.open("a") as file:
            file.write(json.dumps({"what": "tokens", "name": task.name, "ended": ended}) + "\n")
        return {"task": task.name, "ended": ended, "seconds": 1.0}

    return run


def test_an_interrupted_day_goes_on(gpu_day, monkeypatch, tmp_path, capsys):
    calls: list[str] = []
    ends = {"attention: flex": "no end within 60 s", "tokens": "out of time"}
    monkeypatch.setattr(gpu_day, "run_task", fake_task(calls, ends))
    rows = gpu_day.spend(tmp_path, 540, False)
    assert len(rows) == len(calls) == len(gpu_day.TASKS)
    assert "attention: flex: no end within 60 s" in capsys.readouterr().out
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"what": "att')  # a killed process
    calls.clear()
    monkeypatch.setattr(gpu_day, "run_task", fake_task(calls))
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write("\n")
    again = gpu_day.spend(tmp_path, 540, False)
    assert calls == list(ends), "what is done is not done again"
    (tmp_path / "tasks.jsonl").write_text('{"task": "correct", "ended": "exit 1: no device"}\n')
    calls.clear()
    gpu_day.spend(tmp_path, 540, False)
    assert calls[-1] == "correct", "what has not been begun comes first"
    assert [row["name"] for row in again] == [row["name"] for row in rows]
    assert {row["ended"] for row in again} == {"done"}, "the later row of a kind counts"


def test_a_task_goes_on_where_it_stopped(gpu_day, tmp_path):
    """A row that is there is not measured again; one left out for want of time is."""
    rows = importlib.import_module("gpu_day_rows")
    tasks = importlib.import_module("gpu_day_tasks")
    row = {"what": "correct", "name": "", "feature": "causal", "D": 16, "T": 40, "S": 40,
           "dtype": "float32"}  # fmt: skip
    known = [{**row, "error": 1e-3}, {**row, "S": 56, "skipped": "out of time"}]
    found = list(tasks.correct(True, 0.0, rows.Done(known), (0, len(tasks.FEATURES))))
    assert found == [{**row, "S": 56, "skipped": "out of time"}]
    named = {
        r["feature"] for part in range(2) for r in tasks.correct(True, 0.0, rows.Done(), (part, 2))
    }
    assert named == set(tasks.FEATURES), "the parts are the whole"


CONTENDER = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from gpu_day_rows import EXIT_DEVICE_LOST, Done, guarded, read
path = Path(sys.argv[2])
with path.open("a") as file:
    def write(row):
        file.write(json.dumps(row) + chr(10))
        file.flush()
    done = Done(read(path), write)
    def measure():
        for T, how in enumerate(["fine", "raises", "crashes", "loses the device", "fine"]):
            row = {"what": "attention", "name": "peer", "D": 16, "T": T}
            if row in done:
                continue
            done.begin(row)
            if how == "crashes":
                os.kill(os.getpid(), signal.SIGSEGV)
            if how != "fine":
                raise ArithmeticError(how)
            yield {**row, "total_ms": 1.0}
    def check():
        if done.begun["T"] == 3:
            os._exit(EXIT_DEVICE_LOST)
    for row in guarded(measure, done, check):
        write(row)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="a crash has a signal on POSIX")
def test_a_crash_costs_its_row(gpu_day, monkeypatch, tmp_path):
    rows, program = tmp_path / "rows.jsonl", tmp_path / "contender.py"
    program.write_text(CONTENDER)
    command = [sys.executable, str(program), str(REPOSITORY / "benches"), str(rows)]
    monkeypatch.setattr(gpu_day, "command_of", lambda *_: command)
    entry = gpu_day.run_task(gpu_day.Task("attention: peer", 60), rows, 60, True)
    assert entry["ended"] == "done"
    found = {row["T"]: row for row in gpu_day.latest(gpu_day.read(rows))}
    assert [T for T in found if "total_ms" in found[T]] == [0, 4]
    skipped = [found[T]["skipped"] for T in (1, 2, 3)]
    assert skipped[0] == "ArithmeticError: raises" and skipped[2].endswith("loses the device")
    assert skipped[1].startswith("begun, no result")
    begun = [row["T"] for row in gpu_day.read(rows) if row.get("skipped") == skipped[1]]
    assert begun == [0, 1, 2, 2, 3, 4], "a row is begun twice before it is left out"


def test_a_row_that_hung_twice_is_left_out(gpu_day):
    rows = importlib.import_module("gpu_day_rows")
    row = {"what": "decoding", "batch": 1, "context": 40}
    hung = {**row, "skipped": rows.BEGUN}
    assert row not in rows.Done([hung])
    twice = rows.Done([hung, hung])
    assert row in twice and twice.failed(row)
    good = rows.Done([hung, hung, {**row, "ms": 1.0}])
    assert row in good and not good.failed(row)


def test_what_raises_outside_a_row_or_twice_is_raised(gpu_day):
    rows = importlib.import_module("gpu_day_rows")
    done = rows.Done()

    def always(begin: bool):
        if begin:
            done.begin({"what": "step", "name": "the first"})
        raise ImportError("no module")
        yield

    with pytest.raises(ImportError):
        list(rows.guarded(lambda: always(False), done, lambda: None))
    found: list[dict[str, Any]] = []
    with pytest.raises(ImportError):
        found.extend(rows.guarded(lambda: always(True), done, lambda: None))


def test_the_gluon_kernels_answers_stand_beside_the_portable_ones(gpu_day):
    tasks = importlib.import_module("gpu_day_tasks")
    row = {"what": "correct", "feature": "causal", "D": 64, "T": 129, "error": 0.5, "wrong": True}
    both = gpu_day.latest([{**row, "name": ""}, {**row, "name": "hopper", "wrong": False}])
    assert len(both) == 2
    failed = {"what": "correct", "feature": "full", "D": 64, "T": 129, "skipped": "ValueError: no"}
    text = tasks.table([*both, failed])
    assert "| correct: causal | 1 | 5.0e-01 | 1 |" in text
    assert "| correct hopper: causal | 1 | 5.0e-01 | 0 |" in text
    assert "ValueError: no |" in text


def runs(pid: int) -> bool:
    """Whether a process runs; not one that has ended and waits for whoever adopted it."""
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True)
    return state.stdout.strip()[:1] not in ("", "Z")


CHILD = (
    'sleep 600 & echo $! > "$0"; if [ "$1" = hang ]; then wait; fi; echo "no device" >&2; exit 4'
)


@pytest.mark.skipif(not shutil.which("ps") or not shutil.which("sh"), reason="needs POSIX tools")
@pytest.mark.parametrize(
    "what,expected", [("hang", "no end within 2 s"), ("fail", "exit 4: no device")]
)
def test_what_hangs_is_ended_with_all_it_has_started(
    what, expected, gpu_day, monkeypatch, tmp_path
):
    started = tmp_path / "pid"
    monkeypatch.setattr(gpu_day, "command_of", lambda *_: ["sh", "-c", CHILD, str(started), what])
    limit = 2 if what == "hang" else 60
    entry = gpu_day.run_task(gpu_day.Task("attention: flex", limit), tmp_path, limit, True)
    assert entry["ended"] == expected
    pid = int(started.read_text())
    for _ in range(200):
        if not runs(pid):
            return
        time.sleep(0.02)
    pytest.fail("what the subprocess had started still runs")


def test_the_budget_holds(gpu_day, monkeypatch, tmp_path, capsys):
    limits: list[float] = []

    def run(task: Any, rows: Path, seconds: float, dry_run: bool) -> dict[str, Any]:
        limits.append(seconds)
        return {"task": task.name, "ended": "exit 1: no such device", "seconds": 1.0}

    monkeypatch.setattr(gpu_day, "run_task", run)
    gpu_day.spend(tmp_path, 30, False)
    assert max(limits) <= 30
    limits.clear()
    gpu_day.spend(tmp_path, 1, False)
    assert not limits and "out of time; start again to go on" in capsys.readouterr().out


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
    gluon = [*ahead, {"what": "correct", "name": "hopper", "feature": "causal", "wrong": True}]
    assert gpu_day.suggestion(gluon, "hopper", "a.jsonl").startswith("MEASURED_AHEAD")
    assert "nothing to compare" in gpu_day.suggestion(rows, "hopper", "a.jsonl")
