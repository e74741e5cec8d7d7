"""What a kernel's innermost loop makes a multiprocessor do, read from its machine code.

A kernel is as fast as its busiest unit allows: the cycles of each unit in one turn of the loop,
beside those that the mathematics needs, predict a share of the matrix units' peak (a roofline).
The prediction assumes that the units overlap perfectly, so it is an upper bound, not a measurement.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Of one multiprocessor and clock: 16-bit products with 32-bit sums (in floating-point operations),
# by architecture; bytes of shared memory; exponentials; instructions issued. From the vendor's
# architecture papers; of consumer chips with half the products, the full rate is taken.
MATRIX_RATE = {80: 2048, 89: 1024, 90: 4096, 100: 8192, 120: 1024}
SHARED_RATE, EXP2_RATE, ISSUE_RATE = 128, 16, 4

_LINE = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);", re.M)
_MMA_SHAPES = {"16816": 16 * 8 * 16, "1688": 16 * 8 * 8, "1684": 16 * 8 * 4, "884": 8 * 8 * 4}


class Loop(NamedTuple):
    """One turn of a loop, of all warps of a program together."""

    matrix_flops: int
    exp2: int
    shared_bytes: int
    barriers: int
    instructions: int

    def cycles(self, architecture: int) -> dict[str, float]:
        """How long each unit is busy. fifth-generation products show no shape: they count 0."""
        return {
            "matrix": self.matrix_flops / MATRIX_RATE[architecture],
            "shared memory": self.shared_bytes / SHARED_RATE,
            "exponentials": self.exp2 / EXP2_RATE,
            "issue": self.instructions / ISSUE_RATE,
        }


def main_loop(sass: str, warps: int) -> Loop | None:
    """The loop over full tiles: of those that take exponentials, the one with the least code."""
    found = [loop for loop in loops(sass, warps) if loop.exp2]
    return min(found, key=lambda loop: loop.instructions) if found else None


class _Instruction(NamedTuple):
    place: int
    name: str
    operands: str


def _width(name: str) -> int:
    """Bytes that a thread moves."""
    for bits in (128, 64):
        if f".{bits}" in name:
            return bits // 8
    return 2 if "16" in name else 1 if ".U8" in name or ".S8" in name else 4


def _shared_bytes(one: _Instruction, warps: int) -> int:
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


def _matrix_flops(one: _Instruction, warps: int) -> int:
    warp_group = re.match(r"HGMMA\.64x(\d+)x(\d+)", one.name)
    if warp_group:
        return 2 * 64 * int(warp_group[1]) * int(warp_group[2]) * (warps // 4)
    warp = re.match(r"HMMA\.(\d+)", one.name)
    return 2 * _MMA_SHAPES[warp[1]] * warps if warp else 0


def _is_matrix(name: str) -> bool:
    return re.match(r"H?G?MMA|UTC\w*MMA", name) is not None


def loops(sass: str, warps: int) -> list[Loop]:
    """The innermost loops that multiply matrices, in the order of the code."""
    code = [_Instruction(int(m[1], 16), m[2], m[3]) for m in _LINE.finditer(sass)]
    spans = []
    for one in code:
        target = re.search(r"0x([0-9a-f]+)", one.operands) if one.name.startswith("BRA") else None
        if target and int(target[1], 16) < one.place:
            spans.append((int(target[1], 16), one.place))
    innermost = []
    for low, high in sorted(set(spans)):
        inside = [s for s in spans if s != (low, high) and low <= s[0] and s[1] <= high]
        body = [one for one in code if low <= one.place <= high]
        products = any(_is_matrix(one.name) for one in body)
        # A wait for a barrier is a loop of its own, without products.
        nested = any(
            any(_is_matrix(one.name) for one in code if a <= one.place <= b) for a, b in inside
        )
        if products and not nested:
            innermost.append(
                Loop(
                    matrix_flops=sum(_matrix_flops(one, warps) for one in body),
                    exp2=sum(one.name == "MUFU.EX2" for one in body) * 32 * warps,
                    shared_bytes=sum(_shared_bytes(one, warps) for one in body),
                    barriers=sum(one.name.startswith(("BAR.", "WARPGROUP.DEP")) for one in body),
                    instructions=len(body) * warps,
                )
            )
    return innermost
