"""The decoding kernels as the compile gates see them: argument types as a launch passes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from gptpy_kernels.attention.configs import Architecture
from gptpy_kernels.attention.launch import padded_head_dim
from gptpy_kernels.decoding import MAX_QUERY_ROWS, MAX_SPLITS, Tile, choose_tile, needs_pages

from kernel_gates.compilation import KernelReport, compile_kernel, float32_products, name_of

ARCHITECTURES: tuple[Architecture, ...] = (80, 90, 100, "gfx942")


class Case(NamedTuple):
    """The splitting or the joining kernel with all of its options, for one architecture."""

    kernel: str  # "split" or "join"
    architecture: Architecture
    dtype: str  # triton's name: "bf16", "fp16", "fp32"
    head_dim: int
    rows: int  # queries times heads a group
    paged: bool

    @classmethod
    def parse(cls, fields: Sequence[Any]) -> Case:
        """A case that went through JSON."""
        return cls(*fields)

    @property
    def size(self) -> str:
        return f"D={self.head_dim}"

    def problems(self, report: KernelReport) -> list[str]:
        """Why this compiled kernel is refused; empty when it is what was meant."""
        # One tile serves every device of NVIDIA, so it must fit the smallest one's shared memory.
        found = report.problems(self.architecture)
        return found or report.problems(89)

    def __str__(self) -> str:
        return (
            f"decode {self.kernel} {name_of(self.architecture)} {self.dtype} D={self.head_dim} "
            f"rows={self.rows}" + (" paged" if self.paged else "")
        )


_TYPES = {
    "Partial": "*fp32", "PartialLse": "*fp32", "Lse": "*fp32", "Lengths": "*i32",
    "BlockTable": "*i32", "Slopes": "*fp32", "Sinks": "*fp32", "scale": "fp32", "softcap": "fp32",
}  # fmt: skip


def compile_case(case: Case) -> KernelReport:
    """Compile one case and read the result; raises what the compiler raises."""
    from gptpy_kernels.decoding.kernel import decode_join_kernel, decode_split_kernel

    block_d = padded_head_dim(case.head_dim)
    tile = Tile(0, 0, 4, 3)
    if case.kernel == "split":
        amd = isinstance(case.architecture, str)
        tile = choose_tile(case.rows, block_d, 4 if case.dtype == "fp32" else 2, amd)
    constants: dict[str, Any] = {"D": case.head_dim, "BLOCK_D": block_d}
    if case.kernel == "split":
        kernel: Any = decode_split_kernel
        constants |= {
            "GROUP": case.rows, "PAGE": 64 if case.paged else 1, "PAGED": case.paged,
            "BLOCK_M": tile.block_m, "BLOCK_N": tile.block_n, "HAS_WINDOW": True,
            "HAS_SOFTCAP": True, "HAS_ALIBI": True,
            "PRECISION": float32_products(case.architecture),
        }  # fmt: skip
        if not case.paged:
            constants["BlockTable"] = None
    else:
        kernel = decode_join_kernel
        constants |= {"GROUP": case.rows, "BLOCK_S": MAX_SPLITS, "HAS_SINKS": True}
    constants |= {name: 1 for name in kernel.arg_names if re.fullmatch(r"stride_.d", name)}
    types = {}
    for name in kernel.arg_names:
        if name not in constants:
            pointer = name[0].isupper() and name not in ("T", "H_kv", "ROWS")
            types[name] = _TYPES.get(name, f"*{case.dtype}" if pointer else "i32")
    aligned = frozenset(name for name in types if name.startswith("stride"))
    options = {"num_warps": tile.num_warps, "num_stages": tile.num_stages}
    return compile_kernel(kernel, types, constants, case.architecture, options, aligned)


def table_cases(architectures: Sequence[Architecture] = ARCHITECTURES) -> list[Case]:
    """Both kernels at the head dims and at the smallest and largest tile of queries."""
    forms = [("split", rows, paged) for rows in (8, MAX_QUERY_ROWS) for paged in (False, True)]
    return [
        Case(kernel, architecture, dtype, head_dim, rows, paged)
        for architecture in architectures
        for dtype in ("bf16", "fp32")
        for head_dim in (64, 128, 256)
        for kernel, rows, paged in (*forms, ("join", 8, False))
        # Forms that no launch uses are left out.
        if kernel == "join" or paged or not needs_pages(head_dim, 4 if dtype == "fp32" else 2)
    ]
