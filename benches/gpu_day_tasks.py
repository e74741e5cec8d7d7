"""The subprocesses of `gpu_day.py`: each does one task and appends a row as soon as it has one."""

import argparse
import datetime
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attention_peers
import gpu_bench
import gpu_generate
import torch
from gptpy_kernels import causal_attention
from gpu_day_rows import (
    EXIT_DEVICE_LOST,
    EXIT_OUT_OF_TIME,
    OUT_OF_TIME,
    Done,
    Row,
    guarded,
    read,
)

# Not a multiple of 16, then one, since Triton compiles a kernel for each; then two more.
LENGTHS = (129, 640, 257, 1100)
TOLERANCE = 1.5e-2
FEATURES: dict[str, dict[str, Any]] = {
    "causal": {}, "full": {"causal": False}, "window": {"window": 200},
    "soft cap": {"softcap": 2.0},
    "documents": {"cu_seqlens": (0.1, 0.35, 0.9)}, "padding": {"key_padding_mask": 0.8},
    "alibi": {"alibi_slopes": 0.1}, "sinks": {"sinks": 0.5}, "dropout": {"dropout_p": 0.2},
}  # fmt: skip


def facts(dry_run: bool) -> Row:
    import triton

    device = platform.machine() + " interpreter" if dry_run else torch.cuda.get_device_name()
    return {
        "date": datetime.date.today().isoformat(), "device": device, "torch": torch.__version__,
        "triton": triton.__version__, "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }  # fmt: skip


def graph_milliseconds(function: Callable[[], object], repeats: int = 12) -> float:
    """Median time of a call, replayed from a CUDA graph with a cold L2 cache before each."""
    flush = torch.empty(2**28, device="cuda", dtype=torch.uint8)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    times = []
    for _ in range(repeats):
        flush.zero_()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def measure(function: Callable[[], object], dry_run: bool) -> float:
    return gpu_bench.measure(function, True) if dry_run else graph_milliseconds(function)


def correct(
    dry_run: bool, deadline: float, done: Done, part: tuple[int, int], kernel: str = ""
) -> Iterator[Row]:
    """Output and gradients of every feature against plain torch in float32, on this device.

    part: (i, n), every n-th feature from the i-th on. Most of the time goes into compiling, and
    each feature has kernels of its own. kernel: "hopper" for the Gluon kernel, which has few.
    """
    device = "cpu" if dry_run else "cuda"
    lengths = (40,) if dry_run else LENGTHS
    types = (torch.float32,) if dry_run else (torch.bfloat16, torch.float16)
    dims = (16,) if dry_run else (64, 128)
    names = [n for n in FEATURES if not kernel or n in ("causal", "full")][part[0] :: part[1]]
    for T, D, dtype, name in itertools.product(lengths, dims, types, names):
        for S in (T,) if name == "documents" else (T, T + (16 if dry_run else 256)):
            row = {"what": "correct", "name": kernel, "feature": name, "D": D, "T": T, "S": S,
                   "dtype": str(dtype).removeprefix("torch.")}  # fmt: skip
            if row in done:
                continue
            if time.monotonic() > deadline:
                yield {**row, "skipped": OUT_OF_TIME}
                continue
            done.begin(row)
            heads = (1, 2, 1) if dry_run else (2, 4, 2)
            yield {**row, **compare(name, D, T, S, dtype, device, heads)}


def compare(
    name: str,
    D: int,
    T: int,
    S: int,
    dtype: torch.dtype,
    device: str,
    heads: tuple[int, int, int] = (2, 4, 2),
) -> Row:
    """One call with grouped heads: the largest relative error of output and gradients.

    heads: rows, heads of the queries, heads of the keys.
    """
    B, H, H_kv = heads
    torch.manual_seed(T)
    arguments = dict(FEATURES[name])
    if "cu_seqlens" in arguments:
        inner = [int(part * T) for part in arguments["cu_seqlens"]]
        edges = [0, *inner, T] if B == 1 else [0, *inner, T, T + T // 3, 2 * T]
        arguments["cu_seqlens"] = torch.tensor(edges, device=device, dtype=torch.int32)
    if "key_padding_mask" in arguments:
        arguments["key_padding_mask"] = torch.rand(B, S, device=device) < 0.8
    for key in ("alibi_slopes", "sinks"):
        if key in arguments:
            arguments[key] = torch.full((H,), arguments[key], device=device)
    if "dropout_p" in arguments:
        arguments["seed"] = 7
    q, g = torch.randn(2, B, T, H, D, device=device, dtype=dtype)
    k, v = torch.randn(2, B, S, H_kv, D, device=device, dtype=dtype)
    found = []
    for backend, kind in (("triton", dtype), ("reference", torch.float32)):
        leaves = [x.to(kind).detach().clone().requires_grad_() for x in (q, k, v)]
        out: Any = causal_attention(*leaves, backend=backend, **arguments)  # pyright: ignore
        found.append([out, *torch.autograd.grad(out, leaves, g.to(out.dtype))])
    errors = [
        ((a.float() - b.float()).norm() / b.float().norm()).item()
        for a, b in zip(*found, strict=True)
    ]
    worst = max(e if e == e else float("inf") for e in errors)
    return {"error": worst, "wrong": not worst <= TOLERANCE}


def attention(name: str, dry_run: bool, deadline: float, done: Done) -> Iterator[Row]:
    """Forward, and forward with backward, of one contender; nothing for a wrong answer."""
    device, dtype = ("cpu", torch.float32) if dry_run else ("cuda", torch.bfloat16)
    try:
        contender = attention_peers.peers(dry_run)[name]()
    except ImportError as problem:
        yield {"what": "attention", "name": name, "D": "", "skipped": f"not here: {problem}"}
        return
    for D in (16,) if dry_run else (128, 64):
        base = {"what": "attention", "name": name, "D": D}
        check = {**base, "what": "check"}
        if done.failed(check):
            continue
        if check not in done:
            done.begin(check)
        error = attention_peers.error_against_plain(contender, D, device, 40 if dry_run else 333)
        if check not in done:
            yield {**check, "error": error}
        if not error <= TOLERANCE:
            yield {**base, "skipped": f"wrong: relative error {error:.1e}"}
            continue
        for T in (48,) if dry_run else (4096, 16384, 2048, 8192):
            if {**base, "T": T} in done:
                continue
            if time.monotonic() > deadline:
                yield {**base, "T": T, "skipped": OUT_OF_TIME}
                continue
            done.begin({**base, "T": T})
            B, H = (1, 1) if dry_run else (16384 // T, 2048 // D)
            q, k, v, g = torch.randn(4, B, T, H, D, device=device, dtype=dtype)
            leaves = [x.requires_grad_() for x in (q, k, v)]

            def forward(leaves: Any = leaves) -> Any:
                with torch.no_grad():
                    return contender(*leaves)

            def both(leaves: Any = leaves, g: Any = g) -> Any:
                return torch.autograd.grad(contender(*leaves), leaves, g)

            one, total = measure(forward, dry_run), measure(both, dry_run)
            product = 2 * B * H * T * T * D / 2
            yield {**base, "T": T, "error": error, "forward_ms": one, "total_ms": total,
                   "forward_tflops": 2 * product / one / 1e9,
                   "backward_tflops": 5 * product / max(total - one, 1e-9) / 1e9}  # fmt: skip


def peaks(dry_run: bool, done: Done) -> Iterator[Row]:
    """What the device reaches in torch's own matrix product and in a copy."""
    if {"what": "peak"} in done:
        return
    done.begin({"what": "peak"})
    yield {"what": "peak", "tflops": gpu_bench.matrix_peak(torch, dry_run),
           "gb_per_s": gpu_bench.memory_peak(torch, dry_run)}  # fmt: skip


def tokens(dry_run: bool, deadline: float, done: Done) -> Iterator[Row]:
    """Tokens a second of training `modern-124m` with AdamW, by attention back end."""
    from gptpy.config import GPTConfig
    from gptpy.model import build_model

    device = torch.device("cpu" if dry_run else "cuda")
    small = {"n_layer": 1, "n_head": 2, "n_kv_head": 1, "n_embd": 32, "block_size": 16,
             "vocab_size": 61}  # fmt: skip
    config = GPTConfig.preset("modern-124m", **(small if dry_run else {}))
    rows, steps = (1, 1) if dry_run else (8, 10)
    for backend in ("sdpa", "triton"):
        row: Row = {"what": "tokens", "name": backend}
        if row in done:
            continue
        if time.monotonic() > deadline:
            yield {**row, "skipped": OUT_OF_TIME}
            continue
        done.begin(row)
        torch.manual_seed(0)
        model = build_model(config).to(device)
        model.attention_backend = backend
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=not dry_run)
        shape = (rows, config.block_size + 1)
        ids = torch.randint(config.vocab_size, shape, device=device)

        def step(model: Any = model, optimizer: Any = optimizer, ids: Any = ids) -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=not dry_run):
                loss = model(ids[:, :-1], ids[:, 1:])[1]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        for _ in range(1 if dry_run else 3):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - begin) / steps
        yield {**row, "per_second": rows * config.block_size / seconds}


def sanitizer(deadline: float, done: Done) -> Iterator[Row]:
    """The Gluon kernel under ConSan: a race ends the process, and this row is never written."""
    for D, T in itertools.product((64, 128), (129, 640)):
        row: Row = {"what": "sanitizer", "feature": "causal", "D": D, "T": T}
        if row in done:
            continue
        if time.monotonic() > deadline:
            yield {**row, "skipped": OUT_OF_TIME}
            continue
        done.begin(row)
        found = compare("causal", D, T, T, torch.bfloat16, "cuda")
        torch.cuda.synchronize()
        yield {**row, **found}


def rows_of(
    task: str, dry_run: bool, deadline: float, done: Done, part: tuple[int, int]
) -> Iterator[Row]:
    kind, _, name = task.partition(": ")
    if kind == "attention":
        return attention(name, dry_run, deadline, done)
    if kind == "correct":
        return correct(dry_run, deadline, done, part, name)
    if kind == "step":
        return gpu_bench.bench_model_step(torch, dry_run, deadline, done)
    if kind == "decoding":
        return gpu_bench.bench_decoding(torch, dry_run, deadline, done, measure)
    if kind == "generation":
        return gpu_generate.bench_generate(torch, gpu_bench.measure, dry_run, deadline, done)
    if kind == "tokens":
        return tokens(dry_run, deadline, done)
    return peaks(dry_run, done) if kind == "peaks" else sanitizer(deadline, done)


def table(rows: list[Row]) -> str:
    checked = [r for r in rows if r["what"] in ("correct", "sanitizer") and "error" in r]
    lines = ["| answers | calls | largest error | wrong |", "|---|---|---|---|"]

    def title(row: Row) -> str:
        return f"{row['what']} {row.get('name', '')}".strip() + f": {row['feature']}"

    for name in dict.fromkeys(map(title, checked)):
        mine = [r for r in checked if title(r) == name]
        worst, wrong = max(r["error"] for r in mine), sum(r["wrong"] for r in mine)
        lines.append(f"| {name} | {len(mine)} | {worst:.1e} | {wrong} |")
    peak = next((r for r in rows if r["what"] == "peak"), {})
    lines += ["", gpu_bench.table(rows, peak.get("tflops"), peak.get("gb_per_s"))]
    lines += ["", "| modern-124m | tokens a second |", "|---|---|"]
    for r in (r for r in rows if r["what"] == "tokens"):
        lines.append(f"| {r['name']} | {r.get('skipped') or format(r['per_second'], ',.0f')} |")
    lines += ["", gpu_generate.generate_table(rows)]
    untabled = ("correct", "check", "sanitizer", "peak")
    failed = [r for r in rows if r["what"] in untabled and "skipped" in r]
    if failed:
        lines += ["", "| no answer | why |", "|---|---|"]
    for r in failed:
        said = [f"{v}" for key, v in r.items() if v and key not in ("skipped", "task")]
        lines.append(f"| {' '.join(said)} | {r['skipped']} |")
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> bool:
    timed = any(r["what"] == "attention" and "forward_tflops" in r for r in rows)
    return timed and gpu_bench.plot(rows, path)


class DeviceLostError(RuntimeError):
    """After an illegal access every later call of a process fails, whatever it does."""


def check_device(dry_run: bool) -> None:
    if dry_run:
        return
    try:
        torch.cuda.empty_cache()
        torch.cuda.synchronize()
    except RuntimeError as problem:
        raise DeviceLostError(str(problem)) from problem


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("task")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"))
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()
    parent = os.getppid()
    deadline = time.monotonic() + 0.8 * arguments.seconds
    task = arguments.task
    ended = 0
    with arguments.rows.open("a", encoding="utf-8") as file:
        if file.tell():
            file.write("\n")  # a killed process may have cut the last line

        def write(row: Row) -> None:
            file.write(json.dumps({**row, "task": task}) + "\n")
            file.flush()
            os.fsync(file.fileno())

        done = Done((row for row in read(arguments.rows) if row.get("task") == task), write)

        def measured() -> Iterator[Row]:
            return rows_of(task, arguments.dry_run, deadline, done, tuple(arguments.part))

        try:
            for row in guarded(measured, done, lambda: check_device(arguments.dry_run)):
                write(row)
                if row.get("skipped") == OUT_OF_TIME:
                    ended = EXIT_OUT_OF_TIME
                if os.getppid() != parent:  # nobody waits for the rest, another day may have begun
                    return 1
        except DeviceLostError:
            return EXIT_DEVICE_LOST
    return ended


if __name__ == "__main__":
    sys.exit(main())
