"""Reads AMD's assembly (amdgcn), as triton's own code generator writes it."""

from __future__ import annotations

import re
from typing import Any

from kernel_gates.machine_code import Instruction, Loop, innermost, main_loop
from kernel_gates.nvidia_code import PATTERNS as NVIDIA_PATTERNS

_WAVE = 64  # threads
# NVIDIA's instructions have no counterpart here and count 0.
PATTERNS = {
    **dict.fromkeys(NVIDIA_PATTERNS, r"(?!)"),
    "mfma": r"^\s+v_mfma_",
    "exp2": r"^\s+v_exp_f32",
    "local_store": r"^\s+scratch_store",
    "local_load": r"^\s+scratch_load",
}
_MFMA = re.compile(r"v_mfma_f32_(\d+)x(\d+)x(\d+)")
_LDS = re.compile(r"ds_(?:read|write|load|store|bpermute|permute)(2?)(?:st64)?_[bu](\d+)")


def read(compiled: Any, log: str) -> dict[str, Any]:
    """Fields of a `KernelReport`, but for the warnings.

    registers: vector registers of a thread, those that hold the sums of products (AGPRs) included.
    """
    text = compiled.asm["amdgcn"]

    def number(name: str) -> int:
        found = re.search(rf"^\s*\.{name}:\s*(\d+)", text, re.M)
        if found is None:
            raise RuntimeError(f"amdgcn: expected metadata .{name}, got none")
        return int(found[1])

    scratch = number("private_segment_fixed_size")
    return {
        "registers": number("vgpr_count"),
        "stack_bytes": scratch,
        "spilled_bytes": max(scratch, 4 * number("vgpr_spill_count")),
        "shared_bytes": max(compiled.metadata.shared, number("group_segment_fixed_size")),
        "instructions": len(_code(text)[0]),
        "counts": {name: len(re.findall(p, text, re.M)) for name, p in PATTERNS.items()},
        "loop": main_loop(loops(text, compiled.metadata.num_warps)),
    }


def _code(text: str) -> tuple[list[Instruction], dict[str, int]]:
    """Instructions, their places counted in lines, and the place of every label."""
    code, labels = [], {}
    for place, line in enumerate(text.splitlines()):
        label = re.match(r"(\.?L?BB\w+):", line)
        one = re.match(r"\s+([a-z]\w*)(.*)", line)
        if label:
            labels[label[1]] = place
        elif one and one[1].startswith(("v_", "s_", "ds_", "global_", "buffer_", "scratch_")):
            code.append(Instruction(place, one[1], one[2].partition(";")[0]))
    return code, labels


def _matrix_flops(one: Instruction) -> int:
    shape = _MFMA.match(one.name)
    return 2 * int(shape[1]) * int(shape[2]) * int(shape[3]) if shape else 0


def _shared_bytes(one: Instruction) -> int:
    found = _LDS.match(one.name)
    return int(found[2]) // 8 * (2 if found[1] else 1) * _WAVE if found else 0


def loops(text: str, warps: int) -> list[Loop]:
    """The innermost loops that multiply matrices, in the order of the code.

    instructions: those of the vector units, products aside, which have units of their own.
    """
    code, labels = _code(text)
    spans = []
    for one in code:
        target = labels.get(one.operands.strip()) if "branch" in one.name else None
        if target is not None and target < one.place:
            spans.append((target, one.place))
    return [
        Loop(
            matrix_flops=sum(map(_matrix_flops, body)) * warps,
            exp2=sum(one.name.startswith("v_exp_f32") for one in body) * _WAVE * warps,
            shared_bytes=sum(map(_shared_bytes, body)) * warps,
            barriers=sum(one.name == "s_barrier" for one in body),
            instructions=warps
            * sum(one.name.startswith("v_") and not _MFMA.match(one.name) for one in body),
        )
        for body in innermost(code, spans, lambda name: _MFMA.match(name) is not None)
    ]
