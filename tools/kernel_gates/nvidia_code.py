"""Reads NVIDIA's machine code (SASS) with the disassembler that ships inside triton."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from kernel_gates.machine_code import Instruction, Loop, innermost, main_loop

# What to count: matrix products by generation, bulk copies, local memory.
PATTERNS = {
    "hgmma": r"\bHGMMA\b",
    "hmma": r"\bHMMA\b",
    "tcgen05": r"\bUTC\w*MMA\b",
    "mfma": r"\bMFMA\b",  # AMD's; here none
    "tma_load": r"\bUTMALDG\b",
    "tma_store": r"\bUTMASTG\b",
    "tma_reduce": r"\bUTMAREDG\b",
    "async_copy": r"\bLDGSTS\b",
    "exp2": r"\bMUFU\.EX2\b",
    "local_store": r"\bSTL\b",
    "local_load": r"\bLDL\b",
}
_LINE = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);", re.M)
_MMA_SHAPES = {"16816": 16 * 8 * 16, "1688": 16 * 8 * 8, "1684": 16 * 8 * 4, "884": 8 * 8 * 4}


def _tool(name: str) -> str:
    """Path of a CUDA tool that ships inside triton."""
    import triton.backends.nvidia as nvidia

    return str(Path(str(nvidia.__file__)).parent / "bin" / name)


def read(compiled: Any, log: str) -> dict[str, Any]:
    """Fields of a `KernelReport`, but for the warnings. log: the assembler's."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()

        def dump(what: str) -> str:
            return subprocess.run(
                [_tool("cuobjdump"), what, file.name], capture_output=True, text=True, check=True
            ).stdout

        usage = re.search(
            r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", dump("--dump-resource-usage")
        )
        sass = dump("--dump-sass")
    if usage is None:
        raise RuntimeError("cuobjdump: expected a resource usage line, got none")
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill (?:stores|loads)", log))
    return {
        "registers": int(usage[1]),
        "stack_bytes": int(usage[2]),
        "spilled_bytes": max(spilled, int(usage[3])),
        "shared_bytes": compiled.metadata.shared,
        "instructions": len(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/", sass, re.M)),
        "counts": {name: len(re.findall(pattern, sass)) for name, pattern in PATTERNS.items()},
        "loop": main_loop(loops(sass, compiled.metadata.num_warps)),
    }


def _width(name: str) -> int:
    """Bytes that a thread moves."""
    for bits in (128, 64):
        if f".{bits}" in name:
            return bits // 8
    return 2 if "16" in name else 1 if ".U8" in name or ".S8" in name else 4


def _shared_bytes(one: Instruction, warps: int) -> int:
    root, _, rest = one.name.partition(".")
    if root == "LDSM" or root == "STSM":
        matrices = int(rest[-1]) if rest[-1:] in ("2", "4") else 1
        return matrices * 128 * warps
    if root in ("LDS", "STS", "LDGSTS"):
        return 0 if "RZ, [RZ]" in one.operands else _width(one.name) * 32 * warps
    shape = re.match(r"HGMMA\.64x(\d+)x(\d+)", one.name)
    if shape:
        columns, depth = int(shape[1]), int(shape[2])
        rows = 0 if re.match(r"\s*R\d+, R\d+,", one.operands) else 64  # the left operand
        return (columns + rows) * depth * 2 * (warps // 4)
    return 0


def _matrix_flops(one: Instruction, warps: int) -> int:
    warp_group = re.match(r"HGMMA\.64x(\d+)x(\d+)", one.name)
    if warp_group:
        return 2 * 64 * int(warp_group[1]) * int(warp_group[2]) * (warps // 4)
    warp = re.match(r"HMMA\.(\d+)", one.name)
    return 2 * _MMA_SHAPES[warp[1]] * warps if warp else 0


def _is_matrix(name: str) -> bool:
    return re.match(r"H?G?MMA|UTC\w*MMA", name) is not None


def loops(sass: str, warps: int) -> list[Loop]:
    """The innermost loops that multiply matrices, in the order of the code."""
    code = [Instruction(int(m[1], 16), m[2], m[3]) for m in _LINE.finditer(sass)]
    spans = []
    for one in code:
        target = re.search(r"0x([0-9a-f]+)", one.operands) if one.name.startswith("BRA") else None
        if target and int(target[1], 16) < one.place:
            spans.append((int(target[1], 16), one.place))
    return [
        Loop(
            matrix_flops=sum(_matrix_flops(one, warps) for one in body),
            exp2=sum(one.name == "MUFU.EX2" for one in body) * 32 * warps,
            shared_bytes=sum(_shared_bytes(one, warps) for one in body),
            barriers=sum(one.name.startswith(("BAR.", "WARPGROUP.DEP")) for one in body),
            instructions=len(body) * warps,
        )
        for body in innermost(code, spans, _is_matrix)
    ]
