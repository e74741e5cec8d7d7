"""Measure the kernels on this machine's GPU against what else there is: `make gpu-bench`.

Causal attention in bf16 forward and backward (head dims 64 and 128, T = 1k to 16k, 16k tokens, 2048
wide), decoding against the memory's bandwidth, the other fusions against torch, and a training step
of a whole model with and without each. Every peer is compared with attention written out in
float32 first; no figure for a wrong answer. Writes a table, the raw figures and, where matplotlib
is installed, a plot to benches/records/.

--dry-run goes through the same steps in Triton's interpreter on tiny inputs: its times mean nothing
and are not recorded.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("triton_kernels", "benches", "")]
from gpu_day_rows import OUT_OF_TIME, Done, guarded  # noqa: E402
from gpu_model_step import bench_step, step_table  # noqa: E402

HIDDEN, TOKENS = 2048, 16384
TOLERANCE = 1.5e-2


def measure(function: Any, dry_run: bool) -> float:
    """Milliseconds of a call: the median of some, by the GPU's clock."""
    if dry_run:
        begin = time.perf_counter()
        function()
        return (time.perf_counter() - begin) * 1e3
    from gptpy_kernels.attention.autotune import milliseconds

    return milliseconds(function)


def matrix_peak(torch: Any, dry_run: bool = False) -> float:
    """TFLOP/s of torch's own bf16 product of two 8192 x 8192 matrices."""
    n, device = (16, "cpu") if dry_run else (8192, "cuda")
    a, b = torch.randn(2, n, n, device=device, dtype=torch.bfloat16)
    return 2 * n**3 / measure(lambda: a @ b, dry_run) / 1e9


def memory_peak(torch: Any, dry_run: bool = False) -> float:
    """GB/s of a copy within the GPU's memory, bytes read and written counted."""
    size, device = (2**10, "cpu") if dry_run else (2**30, "cuda")
    x = torch.empty(size, device=device, dtype=torch.uint8)
    y = torch.empty_like(x)
    return 2 * x.numel() / measure(lambda: y.copy_(x), dry_run) / 1e6


def bench_attention(torch: Any, dry_run: bool, deadline: float) -> list[dict[str, Any]]:
    from attention_peers import error_against_plain, peers

    device, dtype = ("cpu", torch.float32) if dry_run else ("cuda", torch.bfloat16)
    rows: list[dict[str, Any]] = []
    for D in (16,) if dry_run else (64, 128):
        for name, make in peers(dry_run).items():
            base = {"what": "attention", "name": name, "D": D}
            try:
                attention = make()
                error = error_against_plain(attention, D, device, 40 if dry_run else 333)
            # Anything a missing package, an old driver or a foreign kernel raises means the same.
            except Exception as problem:
                lines = str(problem).strip().splitlines() or [""]
                rows.append({**base, "skipped": f"{type(problem).__name__}: {lines[0][:100]}"})
                continue
            if not error <= TOLERANCE:
                rows.append({**base, "skipped": f"wrong: relative error {error:.1e}"})
                continue
            for T in (48,) if dry_run else (1024, 2048, 4096, 8192, 16384):
                if time.monotonic() > deadline:
                    rows.append({**base, "T": T, "skipped": "out of time"})
                    continue
                B, H = (1, 1) if dry_run else (TOKENS // T, HIDDEN // D)
                q, k, v, g = torch.randn(4, B, T, H, D, device=device, dtype=dtype)
                leaves = [x.requires_grad_() for x in (q, k, v)]
                with torch.no_grad():
                    forward = measure(lambda f=attention, x=leaves: f(*x), dry_run)
                out = attention(*leaves)
                backward = measure(
                    lambda o=out, x=leaves, g=g: torch.autograd.grad(o, x, g, retain_graph=True),
                    dry_run,
                )
                products = 2 * B * H * T * T * D / 2  # one of the causal half's, in FLOPs
                rows.append({
                    **base, "T": T, "error": error,
                    "forward_ms": forward, "forward_tflops": 2 * products / forward / 1e9,
                    "backward_ms": backward, "backward_tflops": 5 * products / backward / 1e9,
                })  # fmt: skip
    return rows


def bench_decoding(
    torch: Any,
    dry_run: bool,
    deadline: float,
    done: Done,
    time_of: Callable[[Callable[[], object], bool], float] = measure,
) -> Iterator[dict[str, Any]]:
    """Bytes of keys and values over time: decoding is bound by reading them."""
    from gptpy_kernels import attention_with_kv_cache

    device, dtype = ("cpu", torch.float32) if dry_run else ("cuda", torch.bfloat16)
    H, H_kv, D = (2, 1, 16) if dry_run else (32, 8, 128)
    shapes = ((1, 40),) if dry_run else (
        (1, 1024), (1, 8192), (1, 32768), (8, 8192), (8, 32768), (64, 1024), (64, 8192),
    )  # fmt: skip
    for B, length in shapes:
        row: dict[str, Any] = {"what": "decoding", "batch": B, "context": length}
        if row in done:
            continue
        if time.monotonic() > deadline:
            yield {**row, "skipped": OUT_OF_TIME}
            continue
        done.begin(row)
        q = torch.randn(B, 1, H, D, device=device, dtype=dtype)
        k, v = torch.randn(2, B, length, H_kv, D, device=device, dtype=dtype)
        lengths = torch.full((B,), length, device=device, dtype=torch.int32)
        arguments = (q, k, v, lengths)
        out: Any = attention_with_kv_cache(*arguments, backend="triton")
        want: Any = attention_with_kv_cache(*arguments, backend="reference")
        error = ((out - want).float().norm() / want.float().norm()).item()
        row["error"] = error
        if error <= TOLERANCE:
            ms = time_of(lambda a=arguments: attention_with_kv_cache(*a, backend="triton"), dry_run)
            row |= {"ms": ms, "gb_per_s": 2 * k.numel() * k.element_size() / ms / 1e6}
        else:
            row["skipped"] = f"wrong: relative error {error:.1e}"
        yield row


def bench_fused(torch: Any, dry_run: bool, deadline: float) -> list[dict[str, Any]]:
    """Forward and backward of the other fusions: ours, eager torch, compiled torch."""
    import gptpy_kernels as kernels
    import torch.nn.functional as F

    device, dtype = ("cpu", torch.float32) if dry_run else ("cuda", torch.bfloat16)
    N, C, V = (8, 32, 40) if dry_run else (16384, 2048, 50304)
    x, y = torch.randn(2, N, C, device=device, dtype=dtype, requires_grad=True)
    both_halves = torch.randn(N, 2 * C, device=device, dtype=dtype, requires_grad=True)
    logits = torch.randn(N, V, device=device, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, V, (N,), device=device)
    weight = torch.ones(C, device=device, dtype=dtype, requires_grad=True)
    heads = torch.randn(1, N, C // 16, 16, device=device, dtype=dtype, requires_grad=True)
    cos, sin = torch.randn(2, N, 8, device=device)

    def rotate(h: Any) -> Any:
        first, second = h.chunk(2, -1)
        c, s = cos.to(h.dtype)[:, None], sin.to(h.dtype)[:, None]
        return torch.cat([first * c - second * s, second * c + first * s], -1)

    pairs: dict[str, tuple[Any, Any, list[Any]]] = {
        "cross entropy": (
            lambda z: kernels.cross_entropy(z, targets, backend="triton"),
            lambda z: F.cross_entropy(z.float(), targets), [logits],
        ),
        "rms norm + residual": (
            lambda a, b, w: sum(kernels.rms_norm(a, w, residual=b, backend="triton")),
            lambda a, b, w: F.rms_norm(a + b, (C,), w) + (a + b), [x, y, weight],
        ),
        "rope": (lambda h: kernels.apply_rope(h, cos, sin, backend="triton"), rotate, [heads]),
        "swiglu": (
            lambda z: kernels.swiglu(z, backend="triton"),
            lambda z: F.silu(z[..., :C]) * z[..., C:], [both_halves],
        ),
    }  # fmt: skip
    rows = []
    for name, (fused, eager, inputs) in pairs.items():
        if time.monotonic() > deadline:
            break

        def both(function: Any, leaves: list[Any] = inputs) -> Any:
            return torch.autograd.grad(function(*leaves).float().sum(), leaves)

        errors = [
            ((a - b).float().norm() / b.float().norm().clamp(min=1e-6)).item()
            for a, b in zip(both(fused), both(eager), strict=True)
        ]
        row: dict[str, Any] = {"what": "fused", "name": name, "error": max(errors)}
        if not max(errors) <= 2 * TOLERANCE:
            rows.append(row | {"skipped": f"wrong: relative error {max(errors):.1e}"})
            continue
        row["ms"] = measure(lambda f=fused: both(f), dry_run)
        row["eager_ms"] = measure(lambda f=eager: both(f), dry_run)
        if not dry_run:
            compiled = torch.compile(eager)
            row["compiled_ms"] = measure(lambda f=compiled: both(f), dry_run)
        rows.append(row)
    return rows


def bench_model_step(
    torch: Any, dry_run: bool, deadline: float, done: Done
) -> Iterator[dict[str, Any]]:
    return bench_step(torch, measure, dry_run, deadline, done)


def careful(bench: Callable[[Done], Iterator[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """The rows of a benchmark; what raises costs its row."""
    done = Done()
    return guarded(lambda: bench(done), done, lambda: None)


def table(rows: list[dict[str, Any]], peak: float | None, bandwidth: float | None) -> str:
    lines = ["| attention | D | T | forward TFLOP/s | of peak | backward TFLOP/s | of peak |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip

    def share(value: float, whole: float | None) -> str:
        return f"{value / whole:.0%}" if whole else ""

    for r in (r for r in rows if r["what"] == "attention"):
        if "skipped" in r:
            lines.append(f"| {r['name']} | {r['D']} | {r.get('T', '')} | {r['skipped']} | | | |")
            continue
        f, b = r["forward_tflops"], r["backward_tflops"]
        lines.append(
            f"| {r['name']} | {r['D']} | {r['T']} | {f:.0f} | {share(f, peak)} "
            f"| {b:.0f} | {share(b, peak)} |"
        )
    lines += ["", "| decoding: batch | context | us | GB/s | of peak |", "|---|---|---|---|---|"]
    for r in (r for r in rows if r["what"] == "decoding"):
        speed = r.get("gb_per_s", 0.0)
        lines.append(
            f"| {r['batch']} | {r['context']} | {r.get('ms', 0) * 1e3:.0f} | {speed:.0f} "
            f"| {r.get('skipped') or share(speed, bandwidth)} |"
        )
    lines += ["", "| forward + backward | ours ms | eager ms | compiled ms |", "|---|---|---|---|"]
    for r in (r for r in rows if r["what"] == "fused"):
        cells = [f"{r[key]:.3f}" if key in r else "" for key in ("ms", "eager_ms", "compiled_ms")]
        lines.append(f"| {r['name']} | {r.get('skipped') or cells[0]} | {cells[1]} | {cells[2]} |")
    return "\n".join([*lines, "", step_table(rows)])


def plot(rows: list[dict[str, Any]], path: Path) -> bool:
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        return False
    done = [r for r in rows if r["what"] == "attention" and "forward_tflops" in r]
    dims = sorted({r["D"] for r in done})
    figure, axes = plt.subplots(
        2, max(1, len(dims)), figsize=(5 * max(1, len(dims)), 7), squeeze=False
    )
    for column, D in enumerate(dims):
        for axis, way in zip(axes[:, column], ("forward", "backward"), strict=True):
            for name in dict.fromkeys(r["name"] for r in done):
                points = [
                    (r["T"], r[f"{way}_tflops"]) for r in done if r["name"] == name and r["D"] == D
                ]
                axis.plot(*zip(*points, strict=True), marker="o", label=name)
            axis.set(title=f"causal {way}, D = {D}", xlabel="T", ylabel="TFLOP/s", xscale="log")
            axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes in the interpreter")
    parser.add_argument("--seconds", type=float, default=420, help="begin nothing after this")
    parser.add_argument("--autotune", action="store_true", help="tune the tiles first")
    arguments = parser.parse_args()
    dry_run = arguments.dry_run
    os.environ["TRITON_INTERPRET"] = "1" if dry_run else "0"
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    import torch
    from gptpy_kernels import available

    ready, reason = available("cpu" if dry_run else "cuda")
    if not ready:
        print(f"gpu-bench: nothing measured: {reason}")
        print("gpu-bench: --dry-run goes through the same steps in Triton's interpreter")
        return 0 if not dry_run else 1
    import triton

    deadline = time.monotonic() + arguments.seconds
    peak = bandwidth = None
    tuned = {}
    if not dry_run:
        peak, bandwidth = matrix_peak(torch), memory_peak(torch)
        if arguments.autotune:
            from gptpy_kernels.attention.autotune import tune

            tuned = {D: tune(D, torch.bfloat16) for D in (64, 128)}
    rows = [
        row
        for found in (
            bench_attention(torch, dry_run, deadline),
            careful(lambda done: bench_decoding(torch, dry_run, deadline, done)),
            bench_fused(torch, dry_run, deadline),
            careful(lambda done: bench_model_step(torch, dry_run, deadline, done)),
        )
        for row in found
    ]
    text = table(rows, peak, bandwidth)
    print(text)
    if dry_run:
        print("\ndry run in the interpreter: the times above are not measurements; none recorded")
        return 1 if any("skipped" in row for row in rows) else 0
    device = torch.cuda.get_device_name()
    head = {
        "date": datetime.date.today().isoformat(), "device": device, "torch": torch.__version__,
        "triton": triton.__version__, "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "matrix_peak_tflops": peak, "memory_peak_gb_per_s": bandwidth,
        "tuned": {
            str(D): {k: [list(c), ms] for k, (c, ms) in best.items()} for D, best in tuned.items()
        },
    }  # fmt: skip
    records = REPOSITORY / "benches" / "records"
    stem = f"attention-{head['date']}-{device.replace(' ', '-').lower()}"
    (records / f"{stem}.json").write_text(json.dumps({**head, "rows": rows}, indent=1) + "\n")
    drawn = plot(rows, records / f"{stem}.svg")
    facts = "\n".join(f"- {key}: {value}" for key, value in head.items())
    (records / f"{stem}.md").write_text(f"# Kernels on {device}\n\n{facts}\n\n{text}\n")
    print(f"\nrecorded in {records / stem}.md, .json" + (", .svg" if drawn else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
