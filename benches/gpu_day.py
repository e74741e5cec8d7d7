"""Fifteen minutes of a GPU, spent well: `make gpu-day`. At most 540 s in all, and resumable.

A subprocess for each contender, with a limit of its own: what raises or crashes costs its row, what
hangs the rows behind it as well. Rows are written as they are measured, the table after every task,
so an interrupted day goes on where it stopped when it is started again with the same --folder (on
the same date and device: the default). Then what has not been begun comes first, and a row that
ended its process twice is left out. Correctness comes first, then attention of several libraries, a
training step, tokens a second, decoding, the engine's steps; the Gluon kernel comes last, under
Triton's concurrency sanitizer before it is timed. At the end a table, a plot and a suggestion for
gptpy/model/attention/preferences.py.

--dry-run goes through every step in Triton's interpreter on tiny inputs, in a temporary folder; its
times mean nothing.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("triton_kernels", "benches", "")]
from gpu_day_rows import (  # noqa: E402
    EXIT_DEVICE_LOST,
    EXIT_OUT_OF_TIME,
    OUT_OF_TIME,
    latest,
    read,
)


class Task(NamedTuple):
    """What one subprocess does, and for how many seconds at most; or several side by side."""

    name: str
    seconds: float
    environment: dict[str, str] = {}  # noqa: RUF012 - never changed
    parts: int = 1


HOPPER = {"GPTPY_HOPPER_KERNEL": "1"}
SHORTEST = 5.0
"""Seconds below which no subprocess is started: they would go into its imports."""
TASKS = [
    Task("correct", 120, parts=9),  # one a feature: the processors compile, the GPU hardly works
    Task("peaks", 20),
    Task("attention: gptpy", 50),
    Task("attention: sdpa flash (FA2)", 40),
    Task("attention: sdpa cudnn", 40),
    Task("attention: flex", 60),
    Task("attention: flash-attention 3", 40),
    Task("step", 90),
    Task("tokens", 60),
    Task("decoding", 40),
    Task("generation", 50),
    Task("sanitizer", 60, {**HOPPER, "TRITON_INSTRUMENTATION_MODE": "consan"}),
    Task("correct: hopper", 40, HOPPER),
    Task("attention: gptpy hopper", 50, HOPPER),
]
DRY_RUN = {"peaks", "attention: gptpy", "correct", "step", "tokens", "decoding", "generation"}


def tasks(dry_run: bool) -> list[Task]:
    if not dry_run:
        return TASKS
    chosen = [task for task in TASKS if task.name in DRY_RUN]
    chosen.insert(2, Task("attention: sdpa math", 60))
    return [task._replace(seconds=300, parts=min(2, task.parts)) for task in chosen]


def environment(task: Task, dry_run: bool) -> dict[str, str]:
    folders = [str(REPOSITORY / f) for f in ("", "triton_kernels", "bpe-rs/python", "benches")]
    path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {
        **os.environ,
        "PYTHONPATH": path,
        "TRITON_INTERPRET": "1" if dry_run else "0",
        "TRITON_DEFAULT_FP_FUSION": "1",
        **task.environment,
    }


def command_of(task: Task, part: int, rows: Path, dry_run: bool, seconds: float) -> list[str]:
    command = [sys.executable, str(REPOSITORY / "benches" / "gpu_day_tasks.py"), task.name]
    command += ["--rows", str(rows), "--seconds", str(seconds)]
    command += ["--part", str(part), str(task.parts)]
    return [*command, "--dry-run"] if dry_run else command


STARTS = 4
"""How often a subprocess may be started: a crash costs the row that was begun, not the rest."""


class Part:
    """A subprocess of a task, started anew behind a crash while there is time."""

    def __init__(
        self, command_for: Callable[[float], list[str]], variables: dict[str, str], seconds: float
    ) -> None:
        self.command_for, self.variables, self.seconds = command_for, variables, seconds
        self.deadline = time.monotonic() + seconds
        self.starts = 0
        self.start()

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def start(self) -> None:
        self.starts += 1
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - `stop` closes it
        self.process = subprocess.Popen(
            self.command_for(self.left()), env=self.variables, stdout=subprocess.DEVNULL,
            stderr=self.errors, start_new_session=True,
        )  # fmt: skip

    def ended(self) -> str | None:
        """How it ended; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None if self.left() > 0 else f"no end within {self.seconds:.0f} s"
        if code in (0, EXIT_OUT_OF_TIME):
            return "done" if code == 0 else OUT_OF_TIME
        crashed = code < 0 or code == EXIT_DEVICE_LOST
        if crashed and self.starts < STARTS and self.left() > SHORTEST:
            self.stop()
            self.start()
            return None
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines() or ["no message"]
        return f"exit {code}: {lines[-1][:200]}"

    def stop(self) -> None:
        """End it and all that it has started, compilers for example."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        # A device that hangs may keep even a killed process: nobody waits for that.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.errors.close()


def run_task(task: Task, rows: Path, seconds: float, dry_run: bool) -> dict[str, Any]:
    """How it ended: {"task", "ended", "seconds", "cpu_seconds"}; its rows are in the file."""
    begin, busy = time.monotonic(), children_seconds()
    variables = environment(task, dry_run)
    parts: list[Part] = []
    ends: dict[int, str] = {}
    try:
        for number in range(task.parts):
            command_for = partial(command_of, task, number, rows, dry_run)
            parts.append(Part(command_for, variables, begin + seconds - time.monotonic()))
        while len(ends) < len(parts):
            for number, part in enumerate(parts):
                if number not in ends and (end := part.ended()):
                    ends[number] = end
            time.sleep(0.05)
    finally:
        for part in parts:
            part.stop()
    ended = next((end for end in ends.values() if end != "done"), "done")
    return {
        "task": task.name, "ended": ended, "seconds": round(time.monotonic() - begin, 1),
        "cpu_seconds": round(children_seconds() - busy, 1),
    }  # fmt: skip


def children_seconds() -> float:
    """Processor time of all subprocesses that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def spend(
    folder: Path, budget: float, dry_run: bool, after_task: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """Run what is not done yet, within `budget` seconds; all rows of the folder.

    What an earlier start has not come to goes before what ended badly there.
    """
    rows, log = folder / "rows.jsonl", folder / "tasks.jsonl"
    ends = {entry["task"]: entry["ended"] for entry in read(log)}
    deadline = time.monotonic() + budget
    waiting = [task for task in tasks(dry_run) if ends.get(task.name) != "done"]
    for task in sorted(waiting, key=lambda task: task.name in ends):
        left = deadline - time.monotonic()
        if left < SHORTEST:
            print(f"gpu-day: {task.name}: out of time; start again to go on", flush=True)
            continue
        entry = run_task(task, rows, min(task.seconds, left), dry_run)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        spent = f"{entry['seconds']} s, {entry.get('cpu_seconds', 0)} s of processors"
        print(f"gpu-day: {task.name}: {entry['ended']} ({spent})", flush=True)
        after_task()
    return latest(read(rows))


def suggestion(rows: list[dict[str, Any]], device_class: str, record: str) -> str:
    """A line for `preferences.MEASURED_AHEAD`, or why there is none."""
    timed = [r for r in rows if r.get("what") == "attention" and "total_ms" in r]
    ours = [r for r in rows if r.get("what") == "correct" and not r.get("name")]
    wrong = [r for r in ours if r.get("wrong") or "skipped" in r]
    if wrong:
        return f"# none: {len(wrong)} answers were wrong or missing, see the rows"
    behind, pairs = [], 0
    for D, T in sorted({(r["D"], r["T"]) for r in timed}):
        here = {r["name"]: r["total_ms"] for r in timed if (r["D"], r["T"]) == (D, T)}
        theirs = [ms for name, ms in here.items() if name.startswith("sdpa")]
        if "gptpy" in here and theirs:
            pairs += 1
            if here["gptpy"] >= min(theirs):
                behind.append(f"D = {D}, T = {T}: {here['gptpy']:.3f} against {min(theirs):.3f} ms")
    if not pairs:
        return "# none: nothing to compare"
    if behind:
        return f"# none: SDPA is ahead at {len(behind)} of {pairs} sizes, {behind[0]}"
    return f'MEASURED_AHEAD["{device_class}"] = "{record}"'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes in the interpreter")
    parser.add_argument("--seconds", type=float, help="for all tasks together; 540 on a GPU")
    parser.add_argument("--folder", type=Path, help="rows; an earlier day's to go on with it")
    arguments = parser.parse_args()
    dry_run = arguments.dry_run
    os.environ["TRITON_INTERPRET"] = "1" if dry_run else "0"
    import torch
    from gptpy_kernels import available
    from gptpy_kernels.attention.configs import device_class
    from gpu_day_tasks import facts, plot, table

    try:
        from gptpy.model import build_model  # noqa: F401
    except ImportError as problem:
        print(f"gpu-day: step, tokens and generation will fail: {problem}; install it meanwhile")

    device = torch.device("cpu" if dry_run else "cuda")
    ready, reason = available(device)
    if not ready:
        print(f"gpu-day: nothing measured: {reason}")
        print("gpu-day: --dry-run goes through every step in Triton's interpreter")
        return 1 if dry_run else 0
    head = facts(dry_run)
    stem = f"gpu-day-{head['date']}-{head['device'].replace(' ', '-').lower()}"
    folder = arguments.folder or (
        Path(tempfile.mkdtemp(prefix="gpu-day-"))
        if dry_run
        else REPOSITORY / "benches" / "records" / stem
    )
    folder.mkdir(parents=True, exist_ok=True)
    # A dry run takes two minutes of a quiet machine; on a busy one it should still reach its end.
    described = "\n".join(f"- {key}: {value}" for key, value in head.items())
    title = "Dry run in the interpreter, no measurement" if dry_run else head["device"]
    record = f"benches/records/{folder.name}/rows.jsonl"

    def write_table() -> str:
        rows = latest(read(folder / "rows.jsonl"))
        line = suggestion(rows, device_class(device), record)
        text = f"{table(rows)}\n\nSuggested for preferences.py:\n\n    {line}\n"
        page = f"# {title}\n\n{described}\n\n{text}"
        (folder / "README.md").write_text(page, encoding="utf-8")
        return text

    budget = arguments.seconds or (1800 if dry_run else 540)
    begin = time.monotonic()
    rows = spend(folder, budget, dry_run, after_task=write_table)
    print(f"gpu-day: {time.monotonic() - begin:.0f} s of {budget:.0f}")
    print(write_table())
    drawn = plot(rows, folder / "attention.svg")
    print(f"gpu-day: {folder}: README.md, rows.jsonl, tasks.jsonl" + (", a plot" if drawn else ""))
    log = {entry["task"]: entry["ended"] for entry in read(folder / "tasks.jsonl")}
    return 1 if dry_run and set(log.values()) != {"done"} else 0


if __name__ == "__main__":
    sys.exit(main())
