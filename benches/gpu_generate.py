"""The engine's passes of single tokens, three ways: what `gpu_day.py` measures of generation.

Keys and values collected from their blocks for torch's attention; our paged kernel, launched from
Python; the same recorded as a CUDA graph. The first is the reference for the logits of the others.
The most likely token stands for the engine's scheduler and sampling: they import the tokenizer,
whose compiled part a GPU machine may lack.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from gpu_day_rows import OUT_OF_TIME, Done

# Name, attention back end by name, whether passes may be recorded.
WAYS = [
    ("blocks collected, torch", "sdpa", False),
    ("paged kernel, launched singly", "triton", False),
    ("paged kernel, CUDA graphs", "triton", True),
]
TOLERANCE = 3e-2  # bfloat16 through twelve layers
VARIABLE = "GPTPY_ATTENTION"


def bench_generate(
    torch: Any,
    measure: Callable[[Callable[[], object], bool], float],
    dry_run: bool,
    deadline: float,
    done: Done,
) -> Iterator[dict[str, Any]]:
    """A row for each number of texts and each of `WAYS`: milliseconds of a pass, tokens a second.

    `modern-124m` in bfloat16 behind prompts of 512 tokens. No figure for wrong logits.
    """
    from gptpy.config import GPTConfig
    from gptpy.model import build_model

    device = torch.device("cpu" if dry_run else "cuda")
    small = {"n_layer": 1, "n_head": 2, "n_kv_head": 1, "n_embd": 32, "block_size": 32,
             "vocab_size": 61}  # fmt: skip
    # Fresh weights of zero would give logits of zero, whatever attention computes.
    drawn = {"init_head": "normal", "init_residual": "normal"}
    config = GPTConfig.preset("modern-124m", **{**drawn, **(small if dry_run else {})})
    torch.manual_seed(0)
    model = build_model(config).to(device).eval()
    for batch in (3,) if dry_run else (1, 8, 64):
        plain: Any = None
        for name, backend, recorded in WAYS:
            row: dict[str, Any] = {"what": "generate", "name": name, "batch": batch}
            if plain is not None and row in done:
                continue
            if time.monotonic() > deadline:
                yield {**row, "skipped": OUT_OF_TIME}
                continue
            if row not in done:
                done.begin(row)
            logits, figures = one_way(torch, model, batch, backend, recorded, measure, dry_run)
            plain = logits if plain is None else plain
            if row in done:
                continue
            row["error"] = ((logits - plain).norm() / plain.norm()).item()
            if row["error"] <= TOLERANCE:
                row |= figures
            else:
                row["skipped"] = f"wrong: relative error {row['error']:.1e}"
            yield row


def one_way(
    torch: Any,
    model: Any,
    batch: int,
    backend: str,
    recorded: bool,
    measure: Callable[[Callable[[], object], bool], float],
    dry_run: bool,
) -> tuple[Any, dict[str, float]]:
    """The logits of the first pass behind the prompts, and the figures of a row."""
    from gptpy.inference.runner import Runner
    from gptpy.model.paged import Chunk

    prompt, warm_up, steps = (5, 1, 1) if dry_run else (512, 8, 64)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = backend
    try:
        runner = Runner(
            model, "float32" if dry_run else "bfloat16", exact=False,
            cache_tokens=batch * model.config.block_size,
        )  # fmt: skip
    finally:
        os.environ.pop(VARIABLE) if before is None else os.environ.update({VARIABLE: before})
    if backend == "triton" and runner.decoder is None:
        raise RuntimeError("the kernel was not admitted")
    if runner.decoder is not None and not recorded:
        runner.decoder.recorder = None
    generator = torch.Generator().manual_seed(batch)
    texts = torch.randint(model.config.vocab_size, (batch, prompt), generator=generator).tolist()
    pool, size = runner.pool, runner.block_tokens
    each = -(-(prompt + warm_up + steps + 1) // size)
    tables = [pool.take(each, pool.claim(each)) for _ in texts]

    def next_tokens(logits: Any) -> list[list[int]]:
        return logits.argmax(-1, keepdim=True).tolist()  # waits for the device, as sampling does

    last = [
        next_tokens(runner.logits([Chunk(ids, 0, table[: -(-prompt // size)])], [1]))[0]
        for ids, table in zip(texts, tables, strict=True)
    ]

    def step(start: int, ids: list[list[int]]) -> Any:
        blocks = start // size + 1
        chunks = [Chunk(i, start, t[:blocks]) for i, t in zip(ids, tables, strict=True)]
        return runner.logits(chunks, [1] * batch)

    first = step(prompt, last).clone()
    if recorded and not dry_run and (runner.decoder is None or runner.decoder.recorder is None):
        raise RuntimeError("no CUDA graph could be recorded")
    # A pass may be repeated: it writes the same keys and values again.
    ms = measure(lambda: step(prompt, last), dry_run)
    begin = time.perf_counter()
    for n in range(warm_up + steps):
        if n == warm_up:
            begin = time.perf_counter()
        last = next_tokens(step(prompt + n, last))
    seconds = time.perf_counter() - begin
    return first, {"ms": ms, "per_second": batch * steps / seconds}


def generate_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `bench_generate` as a table."""
    lines = ["| generation | texts | ms a pass | tokens a second | error |", "|" + "---|" * 5]
    for r in (r for r in rows if r["what"] == "generate"):
        found = ["", ""]
        if "ms" in r:
            found = [f"{r['ms']:.2f}", f"{r['per_second']:,.0f}"]
        error = f"{r['error']:.1e}" if "error" in r else ""
        cells = [r["name"], str(r["batch"]), r.get("skipped") or found[0], found[1], error]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
