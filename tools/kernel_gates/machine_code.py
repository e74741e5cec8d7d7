"""What a kernel's innermost loop makes a multiprocessor do.

A kernel is as fast as its busiest unit allows: the cycles of each unit in one turn of the loop,
beside those that the mathematics needs, predict a share of the matrix units' peak (a roofline).
The prediction assumes that the units overlap perfectly, so it is an upper bound, not a measurement.
The loops themselves are read by `nvidia_code` and `amd_code`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gptpy_kernels.attention.configs import Architecture

# Of one multiprocessor (AMD: compute unit) and clock: 16-bit products with 32-bit sums, in
# floating-point operations; bytes of shared memory; exponentials; instructions of a warp issued
# (AMD: of the vector units, where a wave of 64 takes all of them for a clock). From the vendors'
# architecture papers; of consumer chips with half the products, the full rate is taken.
MATRIX_RATE: dict[Architecture, int] = {
    80: 2048, 89: 1024, 90: 4096, 100: 8192, 120: 1024, "gfx942": 2048,
}  # fmt: skip
SHARED_RATE, EXP2_RATE = 128, 16
NVIDIA_ISSUE_RATE, AMD_ISSUE_RATE = 4, 1


class Loop(NamedTuple):
    """One turn of a loop, of all warps of a program together."""

    matrix_flops: int
    exp2: int
    shared_bytes: int
    barriers: int
    instructions: int

    def cycles(self, architecture: Architecture) -> dict[str, float]:
        """How long each unit is busy. fifth-generation products show no shape: they count 0."""
        issue = AMD_ISSUE_RATE if isinstance(architecture, str) else NVIDIA_ISSUE_RATE
        return {
            "matrix": self.matrix_flops / MATRIX_RATE[architecture],
            "shared memory": self.shared_bytes / SHARED_RATE,
            "exponentials": self.exp2 / EXP2_RATE,
            "issue": self.instructions / issue,
        }


class Instruction(NamedTuple):
    """A line of machine code; places grow along it."""

    place: int
    name: str
    operands: str


def main_loop(found: Sequence[Loop]) -> Loop | None:
    """The loop over full tiles: of those that take exponentials, the one with the least code."""
    return min(
        (loop for loop in found if loop.exp2), key=lambda loop: loop.instructions, default=None
    )


def innermost(
    code: Sequence[Instruction],
    spans: Sequence[tuple[int, int]],
    is_matrix: Callable[[str], bool],
) -> list[list[Instruction]]:
    """The bodies of the innermost loops that multiply matrices, in the order of the code.

    spans: (target, place) of every branch backwards. A wait for a barrier is a loop of its own,
    without products.
    """

    def multiplies(low: int, high: int) -> bool:
        return any(is_matrix(one.name) for one in code if low <= one.place <= high)

    bodies = []
    for low, high in sorted(set(spans)):
        inside = [s for s in spans if s != (low, high) and low <= s[0] and s[1] <= high]
        if multiplies(low, high) and not any(multiplies(*span) for span in inside):
            bodies.append([one for one in code if low <= one.place <= high])
    return bodies
