"""Generation: ours and the peers in turn, on the same weights; ids are compared before times.

    make bench-generate                                  every row, at most eight minutes
    python benches/generate.py --row eight --fresh       one row anew
    python benches/generate.py --list                    the rows

Each contender is a process (`generate_peers.py`) that waits while others run. A round is one run of
each, and ratios are taken within rounds, so that other work on the machine meets all alike. Rows
that are done are kept in `--out` and not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from generate_models import Model, check_tokens, peers_python
from generate_peers import NEEDS
from machine import processor

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benches" / "records" / "generate.md"
Row = dict[str, Any]


class Contender:
    """A process that generates; it sleeps between its runs."""

    def __init__(self, name: str, model: Model, threads: int) -> None:
        self.name = name
        needs = NEEDS.get(name.split()[0])
        python = sys.executable if needs is None else peers_python(needs)
        if python is None:
            raise LookupError(f"no Python here has the package {needs}")
        model.prepare(name)
        command = [python, str(ROOT / "benches" / "generate_peers.py")]
        self.process = subprocess.Popen(
            [*command, name, str(model.folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(model.folder / f"{name.replace(' ', '-')}.log").open("w"),
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": python_path()},
        )
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise LookupError(f"{self.name} ended: see its log beside the model")
        return json.loads(line)

    def run(self, prompts: list[list[int]], new: list[int]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"prompts": prompts, "new": new}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def python_path() -> str:
    """The packages of this checkout come first."""
    own = [str(ROOT), str(ROOT / "triton_kernels"), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, own))


class Bench:
    """What the rows share: models, running contenders, the number of threads and rounds."""

    def __init__(self, folder: Path, threads: int, rounds: int | None, quick: bool) -> None:
        self.folder, self.threads, self.rounds, self.quick = folder, threads, rounds, quick
        self.until = math.inf
        """When the present row begins no further round."""
        self._running: dict[tuple[str, str], Contender] = {}

    def model(self, preset: str) -> Model:
        if self.quick and preset == "gpt2":
            return Model(self.folder / "gpt2-quick", preset, QUICK)
        return Model(self.folder / preset, preset)

    def contenders(self, model: Model, names: list[str]) -> tuple[dict[str, Contender], Row]:
        """Those that can run here, and why the others cannot."""
        found, missing = {}, {}
        for name in names:
            key = model.preset, name
            try:
                if key not in self._running:
                    self._running[key] = Contender(name, model, self.threads)
                found[name] = self._running[key]
            except LookupError as error:
                missing[name] = str(error)
        return found, missing

    def close(self) -> None:
        for contender in self._running.values():
            contender.close()
        self._running = {}

    def in_turn(
        self,
        model: Model,
        names: list[str],
        prompts: list[list[int]],
        new: list[int],
        rounds: int,
        slow: tuple[str, ...] = (),
        warm_up: bool = True,
    ) -> Row:
        """Rounds; the ids of each contender's first run are checked. `slow` ones run once."""
        contenders, missing = self.contenders(model, names)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
        checks: dict[str, str] = {}
        rounds = self.rounds or rounds
        for at in range(-1 if warm_up else 0, rounds):
            if at > 0 and time.monotonic() > self.until:
                break
            order = list(contenders) if at % 2 == 0 else list(contenders)[::-1]
            for name in order:
                if name in slow and at:
                    continue
                try:
                    found = contenders[name].run(prompts, new)
                except LookupError as error:
                    missing[name] = str(error)
                    del contenders[name], runs[name]
                    continue
                if name not in checks:
                    # Of many texts of a peer a few: the exact model takes as long as they do.
                    few = len(prompts) if name.startswith("ours") else CHECKED
                    checks[name] = check_tokens(model, prompts[:few], found["ids"][:few], name)
                if at >= 0:
                    runs[name].append(found)
        ours = [name for name in runs if name.startswith("ours") and name not in slow]
        table = {}
        for name, done in runs.items():
            row = table[name] = {
                "tokens/s": rate(new, [run["seconds"] for run in done]),
                "best": rate(new, [min(run["seconds"] for run in done)]),
                "processor s": round(statistics.median(run["processor"] for run in done), 3),
                "its choice": checks[name],
            }
            for mine in ours:
                # Of the two runs in each round: under the same load of the machine.
                both = zip(done, runs[mine], strict=False)
                ratios = [theirs["seconds"] / own["seconds"] for theirs, own in both]
                row[f"times of {mine}"] = round(statistics.median(ratios), 2)
        return {"contenders": table, "missing": missing, "rounds": len(runs[ours[0]])}


def rate(new: list[int], seconds: list[float]) -> float:
    return round(sum(new) / statistics.median(seconds), 1)


# ---- The rows


def mini(bench: Bench) -> Row:
    """gpt-mini, 256 new tokens, batch 1"""
    count = 24 if bench.quick else 256
    names = [
        "ours fp32",
        "ours f16",
        "HF fp32",
        "ctranslate2 fp32",
        "llama.cpp f32",
        "ours uncached",
    ]
    names += ["onnxruntime"]
    slow = ("ours uncached", "onnxruntime")
    return bench.in_turn(bench.model("gpt-mini"), names, [[50256]], [count], 7, slow)


def sixteen(bench: Bench) -> Row:
    """124 M, batch 1, 16-bit weights"""
    names = ["ours f16", "ours bf16", "HF bf16", "llama.cpp f16", "ctranslate2 bf16"]
    return bench.in_turn(bench.model("gpt2"), names, [words(16)], [48], 7)


def eight(bench: Bench) -> Row:
    """124 M, batch 1, 8-bit weights"""
    names = ["ours int8", "HF bf16", "llama.cpp q8_0", "ctranslate2 int8"]
    return bench.in_turn(bench.model("gpt2"), names, [words(16)], [48], 7)


def mixed(bench: Bench) -> Row:
    """124 M, 16 prompts of 8 to 400 tokens, 16 to 256 new ones"""
    draw = random.Random(1)
    lengths = [8 + round(392 * i / 15) for i in range(16)]
    new = [16 + round(240 * i / 15) for i in range(16)]
    if bench.quick:
        lengths, new = [8 + i for i in range(16)], [4 + i for i in range(16)]
    draw.shuffle(new)
    prompts = [words(length, seed) for seed, length in enumerate(lengths)]
    peers = ("HF bf16", "llama.cpp f16, 16 slots", "llama.cpp q8_0, 16 slots")
    names = ["ours bf16", "ours int8", *peers]
    return bench.in_turn(bench.model("gpt2"), names, prompts, new, 2, peers, warm_up=False)


def prefix(bench: Bench) -> Row:
    """124 M, 16 requests that share 512 tokens, all first tokens: shared / not shared"""
    model = bench.model("gpt2")
    contenders, missing = bench.contenders(model, ["ours bf16"])
    one, times = contenders["ours bf16"], {"shared": [], "not shared": []}
    for at in range((bench.rounds or 3) + 1):
        if at > 1 and time.monotonic() > bench.until:
            break
        for name, seconds in times.items():
            begin = [words(512, 7)] * 16
            if name == "not shared":  # the first token differs, and with it every block
                begin = [[i, *rest[1:]] for i, rest in enumerate(begin)]
            prompts = [text + words(16, 100 + i) for i, text in enumerate(begin)]
            found = one.run(prompts, [1] * 16)
            if not at:  # warms up
                check_tokens(model, prompts, found["ids"], one.name)
                continue
            seconds.append(found["seconds"])
    ratios = [a / b for a, b in zip(times["not shared"], times["shared"], strict=True)]
    medians = {name: round(statistics.median(s), 3) for name, s in times.items()}
    return {"seconds": medians, "ours faster": round(statistics.median(ratios), 2)} | (
        {"missing": missing} if missing else {}
    )


def cold(bench: Bench) -> Row:
    """`gptpy generate` of one token, 1 M model, cold: times of `import torch`"""
    run = bench.model("modern-1m").run()
    generate = ["-m", "gptpy", "generate", str(run), "-p", "The", "--tokens", "1"]
    commands = {"generate": generate, "import torch": ["-c", "import torch"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    environment = {**os.environ, "PYTHONPATH": python_path()}
    for at in range((bench.rounds or 7) + 1):
        if at > 1 and time.monotonic() > bench.until:
            break
        for name, arguments in commands.items():
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *arguments], capture_output=True, text=True, env=environment
            )
            if done.returncode:
                raise SystemExit(f"error: {' '.join(arguments)}: {done.stderr}")
            if at:  # the first fills the caches of files
                times[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(times["generate"], times["import torch"], strict=True)]
    medians = {name: round(statistics.median(s), 3) for name, s in times.items()}
    return {"seconds": medians, "times import torch": round(statistics.median(ratios), 2)}


def server(bench: Bench) -> Row:
    """1 M model, 16 clients of `gptpy serve`: share of the engine's tokens/s"""
    from generate_server import measure

    model = bench.model("modern-1m")
    name = "ours fp32, exact"  # as the server computes
    contenders, _ = bench.contenders(model, [name])
    return measure(model, contenders[name], bench.rounds or 5, bench.threads, python_path())


def quality(bench: Bench) -> Row:
    """Loss of bits per byte with fewer bits, on a trained model"""
    from generate_quality import measure

    return measure(bench.folder, 5_000 if bench.quick else 60_000)


CHECKED = 4
"""Texts of a peer's run that are checked."""
QUICK = {"n_layer": 2, "n_embd": 192, "n_head": 3}
"""What `--quick` makes of the 124 M model."""
SECONDS = {"mini": 50, "sixteen": 50, "eight": 50, "mixed": 110, "prefix": 30, "server": 40}
SECONDS |= {"cold": 40, "quality": 60}
"""After which a row begins no further round: all rows together take at most eight minutes."""
ROWS: dict[str, Callable[[Bench], Row]] = {
    row.__name__: row for row in (mini, sixteen, eight, mixed, prefix, server, cold, quality)
}


def words(length: int, seed: int = 0) -> list[int]:
    """Ids of a random text."""
    draw = random.Random(seed)
    return [draw.randrange(50_000) for _ in range(length)]


# ---- The table


def busy() -> float:
    """Mean number of other threads that want a core, over a fifth of a second."""
    from gptpy.cli.openmp import other_runnable_threads

    return other_runnable_threads(20)


def as_table(results: dict[str, Row]) -> str:
    lines = []
    for name, row in results.items():
        lines += ["", f"**{name}**: {row['about']} (load {row['load']}, {row['threads']} threads)"]
        rest = {k: v for k, v in row.items() if k not in ("about", "load", "threads", "contenders")}
        table = row.get("contenders")
        if table:
            columns = list(next(iter(table.values())))
            lines += ["", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
            for contender, values in table.items():
                cells = " | ".join(str(values.get(column, "")) for column in columns)
                lines.append(f"| {contender} | {cells} |")
        lines += ["", "; ".join(f"{key}: {value}" for key, value in rest.items() if value)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--row", action="append", choices=ROWS, help="only this one (repeatable)")
    parser.add_argument("--rounds", type=int, help="timed runs of each (default: by row)")
    parser.add_argument("--threads", type=int, help="default: all cores, one on a busy machine")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench-generate")
    parser.add_argument("--fresh", action="store_true", help="forget rows that are done")
    parser.add_argument("--record", action="store_true", help="append the table to the records")
    parser.add_argument("--quick", action="store_true", help="tiny models: does everything run?")
    parser.add_argument("--prepare", action="store_true", help="only write the models")
    parser.add_argument("--list", action="store_true", help="the rows")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{name:8} {row.__doc__}" for name, row in ROWS.items()))
        return
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    state = out / "results.json"
    results: dict[str, Row] = json.loads(state.read_text()) if state.exists() else {}
    load = busy()
    threads = arguments.threads or (1 if load > 0.5 else len(os.sched_getaffinity(0)))
    if load > 0.5:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    bench = Bench(
        out, threads, arguments.rounds or (1 if arguments.quick else None), arguments.quick
    )
    if arguments.prepare:
        prepare(bench)
        return
    wanted = arguments.row or list(ROWS)
    try:
        for name in wanted:
            if name in results and not arguments.fresh:
                continue
            start = time.perf_counter()
            row = {"about": ROWS[name].__doc__, "load": round(busy(), 1), "threads": threads}
            bench.until = time.monotonic() + SECONDS[name]
            row |= ROWS[name](bench)
            row["took s"] = round(time.perf_counter() - start, 1)
            results[name] = row
            ordered = {n: results[n] for n in ROWS if n in results}
            state.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
            print(as_table({name: row}), flush=True)
    finally:
        bench.close()
    if arguments.record:
        shown = {n: results[n] for n in ROWS if n in results}
        heading = f"\n## {date.today()}, {processor()}, torch {torch_version()}\n"
        with RECORDS.open("a", encoding="utf-8") as file:
            file.write(heading + as_table(shown) + "\n")
        print(f"\nappended to {RECORDS.relative_to(ROOT)}")


def prepare(bench: Bench) -> None:
    """Writes all models in all formats, and trains the one whose bits are counted."""
    from generate_quality import trained

    for preset, names in (
        ("gpt-mini", ["ours", "HF", "llama.cpp f32", "ctranslate2", "onnxruntime"]),
        ("gpt2", ["ours", "HF", "llama.cpp f16", "llama.cpp q8_0", "ctranslate2"]),
        ("modern-1m", ["ours"]),
    ):
        for name in names:
            try:
                bench.model(preset).prepare(name)
            except LookupError as error:
                print(f"{preset}, {name}: {error}")
    trained(bench.folder)


def torch_version() -> str:
    from importlib.metadata import version

    return version("torch")


if __name__ == "__main__":
    main()
