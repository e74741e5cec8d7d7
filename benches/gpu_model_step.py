"""A training step of a model with and without each kernel: what `gpu_bench.py` measures end to end.

A fusion that is faster by itself may still lose here, to torch's compiler above all: so every row
is a whole forward and backward pass, and compiled rows stand beside the eager ones.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from gpu_day_rows import OUT_OF_TIME, Done

# Name, attention back end, fusions (None: all that apply), compiled.
ROWS: list[tuple[str, str, tuple[str, ...] | None, bool]] = [
    ("sdpa, plain formulas", "sdpa", (), False),
    ("our attention", "triton", (), False),
    ("our attention + cross entropy", "triton", ("cross_entropy",), False),
    ("our attention + rms norm", "triton", ("rms_norm",), False),
    ("our attention + rope", "triton", ("rope",), False),
    ("our attention + swiglu", "triton", ("swiglu",), False),
    ("our attention + all", "triton", None, False),
    ("sdpa, compiled", "sdpa", (), True),
    # Compiling takes most of a minute: the row that says most comes first.
    ("our attention + all, compiled", "triton", None, True),
    ("our attention, compiled", "triton", (), True),
    ("our attention + cross entropy, compiled", "triton", ("cross_entropy",), True),
]


def bench_step(
    torch: Any,
    measure: Callable[[Callable[[], object], bool], float],
    dry_run: bool,
    deadline: float,
    done: Done,
) -> Iterator[dict[str, Any]]:
    """A row for each of `ROWS`: milliseconds, the peak of memory, the error of all gradients.

    A model of GPT-2's size in the shape of today's, 8 x 1024 tokens, bfloat16 autocast; compared
    with the first row before it is measured, no figure for a wrong answer. What is `done` is not
    measured again.
    """
    from gptpy.config import GPTConfig
    from gptpy.model import build_model
    from gptpy.model.fast.fused import FUSIONS

    device = torch.device("cpu" if dry_run else "cuda")
    shape: dict[str, Any] = {"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1024}
    batch, vocabulary = 8, 50304
    if dry_run:
        shape = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 16}
        batch, vocabulary = 1, 61
    config = GPTConfig.preset(
        "modern-1m", vocab_size=vocabulary, init_residual="normal", init_head="normal",
        logit_softcap=15.0, n_kv_head=shape["n_head"], **shape,
    )  # fmt: skip
    torch.manual_seed(0)
    model = build_model(config).to(device)
    ids = torch.randint(vocabulary, (batch, config.block_size + 1), device=device)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    parameters = list(model.parameters())
    plain: Any = None

    def step(network: Any) -> Any:
        # The interpreter's bfloat16 is only right in the tests' repaired harness.
        with torch.autocast(device.type, torch.bfloat16, enabled=not dry_run):
            loss = network(inputs, targets)[1]
        return torch.autograd.grad(loss, parameters)

    for name, backend, fusions, compiled in ROWS:
        if dry_run and compiled:
            continue  # minutes of a compiler that a dry run need not wait for
        row: dict[str, Any] = {"what": "step", "name": name}
        if plain is not None and row in done:
            continue
        if time.monotonic() > deadline:
            yield {**row, "skipped": OUT_OF_TIME}
            continue
        model.attention_backend = backend
        dtype = torch.float32 if dry_run else torch.bfloat16
        model.select_fusions(FUSIONS if fusions is None else fusions, dtype=dtype)
        network: Any = torch.compile(model) if compiled else model
        if row not in done:
            done.begin(row)
        gradients = torch.cat([g.flatten().float() for g in step(network)])
        if plain is None:
            plain = gradients
            if row in done:
                continue
        row["error"] = ((gradients - plain).norm() / plain.norm()).item()
        if not row["error"] <= 3e-2:
            yield {**row, "skipped": f"wrong: relative error {row['error']:.1e}"}
            continue
        del gradients
        if not dry_run:
            torch.cuda.reset_peak_memory_stats()
        row["ms"] = measure(lambda n=network: step(n), dry_run)
        if not dry_run:
            row["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        yield row


def step_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `bench_step` as a table; times as a share of the first."""
    lines = ["| model step | ms | of the first | peak GB | error |", "|---|---|---|---|---|"]
    mine = [r for r in rows if r["what"] == "step"]
    for r in mine:
        if "ms" not in r:
            lines.append(f"| {r['name']} | {r['skipped']} | | | |")
            continue
        share = f"{r['ms'] / mine[0]['ms']:.2f}" if "ms" in mine[0] else ""
        peak = f"{r['peak_gb']:.1f}" if "peak_gb" in r else ""
        lines.append(f"| {r['name']} | {r['ms']:.1f} | {share} | {peak} | {r['error']:.1e} |")
    return "\n".join(lines)
