"""The Hopper forward kernel under the simulator: its source, its inputs, all of its programs."""

from __future__ import annotations

import re
from pathlib import Path
from types import CodeType

import numpy as np

from gluon_simulator.language import FLOAT16, Descriptor, Pointer, modules
from gluon_simulator.machine import Machine

SOURCE = (
    Path(__file__).resolve().parents[2]
    / "triton_kernels" / "gptpy_kernels" / "attention" / "hopper_forward.py"
)  # fmt: skip


def load_kernel(source: str) -> CodeType:
    """A kernel file's code without its imports, which the simulator gives it."""
    body = re.sub(r"^from triton.*?(\([^)]*\)|[^\n(]*)$", "", source, flags=re.M | re.S)
    return compile(body, "hopper_forward.py", "exec")


def run(
    code: CodeType,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    causal: bool,
    block: int,
    stages: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Out (B, H, T, D) and log-sum-exp (B, H, T) of q and k, v (B, H_kv, S, D).

    Raises `Fault` where the kernel relies on what hardware leaves undefined, and for a deadlock.
    """
    B, H, T, D = q.shape
    H_kv, S = k.shape[1:3]
    out, lse = np.full(q.shape, np.nan, np.float32), np.full(B * H * T, np.nan, np.float32)
    for program in range(-(-T // block) * B * H):
        machine = Machine(seed * 1000 + program)
        names = modules(machine, program)
        exec(code, names)  # noqa: S102 - our own source
        names["hopper_forward_kernel"](
            Descriptor(q, block // 2, FLOAT16), Descriptor(k, block, FLOAT16),
            Descriptor(v, block, FLOAT16), Descriptor(out, block // 2, FLOAT16), Pointer(lse),
            H, H // H_kv, T, S, D**-0.5, D=D, BLOCK_M=block, BLOCK_N=block, STAGES=stages,
            CAUSAL=causal,
        )  # fmt: skip
    return out, lse.reshape(B, H, T)
