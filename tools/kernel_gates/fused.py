"""The fused kernels as the compile gates see them: argument types as a launch passes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gptpy_kernels.attention.configs import Architecture
from gptpy_kernels.fused.cross_entropy import block_of as cross_entropy_block
from gptpy_kernels.fused.rms_norm import block_of as rms_norm_block
from gptpy_kernels.fused.rms_norm import warps_of as rms_norm_warps
from gptpy_kernels.fused.rope import blocks_of as rope_blocks
from gptpy_kernels.fused.swiglu import block_of as swiglu_block

from kernel_gates.compilation import KernelReport, compile_kernel, name_of

ARCHITECTURES: tuple[Architecture, ...] = (80, 90, 100, "gfx942")


class Case(NamedTuple):
    """One fused kernel with all of its options, for one architecture."""

    kernel: str
    architecture: Architecture
    dtype: str  # triton's name: "bf16", "fp16", "fp32"
    columns: int  # vocabulary, width, or head dim

    @classmethod
    def parse(cls, fields: Sequence[Any]) -> Case:
        """A case that went through JSON."""
        return cls(*fields)

    @property
    def size(self) -> str:
        return f"C={self.columns}"

    def problems(self, report: KernelReport) -> list[str]:
        """Why this compiled kernel is refused; empty when it is what was meant."""
        return report.problems(self.architecture)

    def __str__(self) -> str:
        return f"{self.kernel} {name_of(self.architecture)} {self.dtype} C={self.columns}"


# Types of the arguments that are neither sizes nor pointers to the case's own dtype.
_SPECIAL = {
    "Targets": "*i64", "Losses": "*fp32", "Lse": "*fp32", "Grad": "*fp32", "Weight": "*fp32",
    "Rstd": "*fp32", "GradWeight": "*fp32", "Cos": "*fp32", "Sin": "*fp32", "softcap": "fp32",
    "eps": "fp32", "sign": "fp32",
}  # fmt: skip
_SCALARS = ("V", "C", "N", "T", "H", "HALF", "ignore_index")


def _kernel(case: Case) -> tuple[Any, dict[str, Any], int]:
    """(kernel, constants, warps) of a launch over `case.columns` columns."""
    from gptpy_kernels.fused import (
        cross_entropy_kernel,
        rms_norm_kernel,
        rope_kernel,
        swiglu_kernel,
    )

    C = case.columns
    if case.kernel.startswith("cross_entropy"):
        constants = {"BLOCK": cross_entropy_block(C), "HAS_SOFTCAP": True}
        return getattr(cross_entropy_kernel, f"{case.kernel}_kernel"), constants, 8
    if case.kernel == "rms_norm":
        constants = {"BLOCK": rms_norm_block(C), "HAS_RESIDUAL": True, "HAS_WEIGHT": True}
        return rms_norm_kernel.rms_norm_kernel, constants, rms_norm_warps(C)
    if case.kernel == "rms_norm_backward":
        constants = {"BLOCK": rms_norm_block(C), "HAS_GRAD_SUM": True, "HAS_WEIGHT": True}
        return rms_norm_kernel.rms_norm_backward_kernel, constants, rms_norm_warps(C)
    if case.kernel == "rope":
        return rope_kernel.rope_kernel, rope_blocks(16, C), 4
    return getattr(swiglu_kernel, f"{case.kernel}_kernel"), {"BLOCK": swiglu_block(C)}, 4


def compile_case(case: Case) -> KernelReport:
    """Compile one case and read the result; raises what the compiler raises."""
    kernel, constants, warps = _kernel(case)
    types = {}
    for name in kernel.arg_names:
        if name in constants:
            continue
        if name == "stride_xd":  # heads come with unit columns from every model
            constants[name] = 1
            continue
        # The gradient of the losses is float32, that of an activation has its type.
        if name in _SPECIAL and not (name == "Grad" and case.kernel == "swiglu_backward"):
            types[name] = _SPECIAL[name]
        elif name in _SCALARS or name.startswith("stride"):
            types[name] = "i32"
        else:
            types[name] = f"*{case.dtype}"
    aligned = frozenset(name for name in types if name.startswith("stride") or name in ("C", "V"))
    options = {"num_warps": warps, "num_stages": 3}
    return compile_kernel(kernel, types, constants, case.architecture, options, aligned)


def table_cases(architectures: Sequence[Architecture] = ARCHITECTURES) -> list[Case]:
    """Every fused kernel at the sizes of small and of large models."""
    sizes = {
        "cross_entropy": (512, 50304), "cross_entropy_backward": (512, 50304),
        "rms_norm": (768, 4096, 8192), "rms_norm_backward": (768, 4096, 8192),
        "rope": (64, 128), "swiglu": (2048, 11008), "swiglu_backward": (2048, 11008),
    }  # fmt: skip
    return [
        Case(kernel, architecture, dtype, columns)
        for architecture in architectures
        for kernel, widths in sizes.items()
        for columns in widths
        for dtype in ("bf16", "fp32")
    ]
