"""Training steps of gptpy's models against nanoGPT's configuration and Hugging Face's GPT-2.

    python benches/model.py                   speed, memory and equal losses at 0.8 M and 10 M
    python benches/model.py --reach           time to nanoGPT's own validation loss, too (minutes)

All contenders take the same batches in the same process, one step each in turn, so that other load
on the machine slows all of them alike. Nothing is reported when the losses disagree.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from nano_model import NanoGPT

from gptpy.config import GPTConfig
from gptpy.config.training import OptimConfig
from gptpy.devices.selection import choose_compile, choose_device, choose_dtype
from gptpy.model import GPT, flops_per_token
from gptpy.train.optimisers import build_optimizers
from gptpy.train.update import set_rates

SHARED = Path(os.environ.get("GPTPY_SHARED", Path(__file__).parent.parent.parent / "shared"))
# nanoGPT's published sizes: its CPU configuration, and its Shakespeare configuration with a batch
# small enough for a CPU.
SIZES: dict[str, dict[str, int]] = {
    "0.8M": {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch": 12},
    "10M": {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 128, "batch": 8},
}
# The rows of the table. "gptpy gpt2" and "gptpy modern" have the defaults of a run of ITERATIONS
# steps.
NAMES = (
    "nanoGPT",
    "nanoGPT bf16 compiled",
    "HF GPT-2",
    "gptpy gpt2",
    "gptpy gpt2 compiled",
    "gptpy modern",
)
ITERATIONS = 2000
Step = Callable[[Tensor, Tensor], float]


def text_ids() -> tuple[Tensor, Tensor]:
    """Characters of Tiny Shakespeare as ids: training and validation parts."""
    path = SHARED / "data" / "tinyshakespeare.txt"
    if not path.is_file():
        sys.exit(f"{path} not found: set GPTPY_SHARED to the folder with data/tinyshakespeare.txt")
    data = path.read_bytes()
    lookup = {byte: i for i, byte in enumerate(sorted(set(data)))}
    ids = torch.tensor([lookup[byte] for byte in data])
    cut = int(0.9 * len(ids))
    return ids[:cut], ids[cut:]


def batch(ids: Tensor, size: dict[str, int], seed: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets, `(batch, T)` each, from random positions; the same for one seed."""
    generator = torch.Generator().manual_seed(seed)
    length = size["block_size"]
    starts = torch.randint(len(ids) - length - 1, (size["batch"],), generator=generator)
    windows = torch.stack([ids[start : start + length + 1] for start in starts.tolist()])
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def shape(size: dict[str, int]) -> dict[str, int]:
    return {"vocab_size": 65, **{k: v for k, v in size.items() if k != "batch"}}


def gpt2_config(size: dict[str, int]) -> GPTConfig:
    return GPTConfig.preset("gpt2", **shape(size), bias=False, activation="gelu")


class Contender:
    """A model with its optimizer; `step` trains on a batch, `loss` only evaluates."""

    def __init__(self, name: str, size: dict[str, int]) -> None:
        torch.manual_seed(0)
        initial = GPT(gpt2_config(size))  # all contenders of this shape start from these weights
        device = choose_device("cpu")
        self.dtype = torch.float32
        self.said = "fp32, AdamW"
        compiled = name.endswith("compiled")
        if name.startswith("nanoGPT"):
            self.model: Any = NanoGPT(initial.config)
            self.model.load_state_dict(initial.state_dict())
            if compiled:
                self.dtype = torch.bfloat16
                self.said = "bf16, AdamW, compiled"
            run = torch.compile(self.model) if compiled else self.model
            self.call = lambda x, y: run(x, y)[1]
        elif name == "HF GPT-2":
            self.model = hugging_face(size)
            self.call = lambda x, y: self.model(x, labels=y, shift_labels=y).loss
        else:
            self.model = initial
            if name == "gptpy modern":
                self.model = GPT(GPTConfig.preset("modern-1m", n_kv_head=None, **shape(size)))
            self.dtype, _ = choose_dtype(device)
            attention, _ = self.model.select_attention(dtype=self.dtype)
            compiled, _ = choose_compile(device, "on" if compiled else "auto", ITERATIONS)
            run = torch.compile(self.model) if compiled else self.model
            self.call = lambda x, y: run(x, y)[1]
            kind = str(self.dtype).removeprefix("torch.")
            self.said = f"{kind}, {attention}, {'compiled' if compiled else 'eager'}"
        if name == "gptpy modern":
            self.optimizers = build_optimizers(
                self.model, OptimConfig(name="muon", lr=3e-3, beta2=0.99)
            )
            self.said += ", Muon"
        else:
            fused = name.startswith("gptpy")
            self.optimizers = [adamw(self.model, fused)]
            self.said += ", fused AdamW" if fused else ""
        self.base_rates = [group["lr"] for o in self.optimizers for group in o.param_groups]

    def step(self, x: Tensor, y: Tensor) -> float:
        loss = self.loss(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return self.call(x, y)

    def set_rate(self, factor: float) -> None:
        groups = [group for o in self.optimizers for group in o.param_groups]
        for group, rate in zip(groups, self.base_rates, strict=True):
            group["lr"] = rate * factor

    @torch.no_grad()
    def validate(self, ids: Tensor, size: dict[str, int]) -> float:
        """Mean loss over 40 random batches, the same for every contender."""
        losses = [self.loss(*batch(ids, size, 10**6 + i)).item() for i in range(40)]
        return statistics.fmean(losses)


def hugging_face(size: dict[str, int]) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=65,
            n_positions=size["block_size"],
            n_layer=size["n_layer"],
            n_head=size["n_head"],
            n_embd=size["n_embd"],
            bos_token_id=None,
            eos_token_id=None,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )


def adamw(model: torch.nn.Module, fused: bool) -> torch.optim.Optimizer:
    """nanoGPT's published settings for this text."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=fused or None)


def measure(size_name: str, rounds: int, equal_steps: int) -> list[dict[str, Any]]:
    """Step times in turn, and losses after training nanoGPT's shape on the same batches."""
    size = SIZES[size_name]
    train, validation = text_ids()
    contenders = {name: Contender(name, size) for name in NAMES}
    warm: dict[str, float] = {}
    for name, contender in contenders.items():
        start = time.perf_counter()
        for i in range(3):
            contender.step(*batch(train, size, i))
        warm[name] = time.perf_counter() - start
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    for i in range(rounds):
        x, y = batch(train, size, i)
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender.step(x, y)
            times[name].append(time.perf_counter() - start)
    pair = {name: Contender(name, size) for name in ("nanoGPT", "gptpy gpt2")}
    for i in range(equal_steps):
        x, y = batch(train, size, i)
        for contender in pair.values():
            contender.step(x, y)
    losses = {name: contender.validate(validation, size) for name, contender in pair.items()}
    ratio = losses["gptpy gpt2"] / losses["nanoGPT"]
    if abs(ratio - 1) > 0.005:
        sys.exit(f"{size_name}: validation losses differ by more than 0.5 %: {losses}")
    tokens = size["batch"] * size["block_size"]
    baseline = times["nanoGPT"]
    rows = []
    for name in NAMES:
        median = statistics.median(times[name])
        # The two steps of a ratio ran one after the other, under the same load of the machine.
        ratios = [b / t for b, t in zip(baseline, times[name], strict=True)]
        model = contenders[name].model
        row = {
            "size": size_name,
            "model": name,
            "how": contenders[name].said,
            "parameters": sum(p.numel() for p in model.parameters()),
            "step_ms": round(median * 1e3, 2),
            "best_ms": round(min(times[name]) * 1e3, 2),
            "tokens_per_second": round(tokens / median),
            "times_nanoGPT": round(statistics.median(ratios), 2),
            "first_steps_s": round(warm[name], 1),
        }
        # Read from /proc. Left out for compiled rows: the compiler needs more than the model.
        if sys.platform == "linux" and not name.endswith("compiled"):
            row["peak_MB"] = memory(name, size_name)
        if isinstance(model, GPT):
            row["GFLOPs"] = round(flops_per_token(model) * tokens / median / 1e9)
        if name in losses:
            row[f"validation_after_{equal_steps}"] = round(losses[name], 4)
        rows.append(row)
    return rows


def memory(name: str, size_name: str) -> int:
    """Peak MB of five steps in a process of its own, above what it held before them (Linux)."""
    command = [sys.executable, __file__, "--memory-of", name, size_name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def memory_here(name: str, size_name: str) -> int:
    size = SIZES[size_name]
    x = torch.randint(65, (size["batch"], size["block_size"]))
    contender = Contender(name, size)
    # Writing 5 sets the peak to the present size: the imports' own peak must not hide the model.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kilobytes()
    for _ in range(5):
        contender.step(x, x)
    return round((peak_kilobytes() - before) / 1024)


def peak_kilobytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def reach(iterations: int, ours: int) -> list[dict[str, Any]]:
    """Seconds and loss of nanoGPT's CPU configuration, and of ours after fewer iterations."""
    size = SIZES["0.8M"]
    train, validation = text_ids()
    baseline = Contender("nanoGPT", size)
    seconds = 0.0
    for i in range(iterations):
        warm, progress = min(1.0, (i + 1) / 100), i / iterations
        baseline.set_rate(warm * (0.1 + 0.45 * (1 + math.cos(math.pi * progress))))
        x, y = batch(train, size, i)
        start = time.perf_counter()
        baseline.step(x, y)
        seconds += time.perf_counter() - start
    goal = baseline.validate(validation, size)
    rows = [{"model": "nanoGPT", "iterations": iterations, "seconds": round(seconds, 1),
             "validation": round(goal, 4)}]  # fmt: skip
    contender = Contender("gptpy modern", size)
    seconds = 0.0
    for i in range(ours):
        set_rates(contender.optimizers, min(1.0, (ours - i) / (0.6 * ours)))
        x, y = batch(train, size, i)
        start = time.perf_counter()
        contender.step(x, y)
        seconds += time.perf_counter() - start
    found = contender.validate(validation, size)
    rows.append({"model": "gptpy modern", "iterations": ours, "seconds": round(seconds, 1),
                 "validation": round(found, 4)})  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, *([str(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=30, help="timed steps of each")
    parser.add_argument("--equal-steps", type=int, default=200, help="steps before losses compare")
    parser.add_argument("--reach", action="store_true", help="time to nanoGPT's validation loss")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="with --reach")
    parser.add_argument("--ours", type=int, default=400, help="our iterations, with --reach")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    parser.add_argument("--memory-of", nargs=2, metavar=("NAME", "SIZE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        print(memory_here(*arguments.memory_of))
        return
    rows = []
    for size in arguments.sizes:
        steps = arguments.equal_steps if size == "0.8M" else arguments.equal_steps // 10
        found = measure(size, arguments.rounds, steps)
        print(table(found), flush=True)
        rows += found
    if arguments.reach:
        found = reach(arguments.iterations, arguments.ours)
        print(table(found))
        rows += found
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
