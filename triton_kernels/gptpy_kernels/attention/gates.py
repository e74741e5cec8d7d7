"""The attention kernels as the compile gates see them: argument types for every configuration."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..compilation import KernelReport, compile_kernel, inspect
from .configs import TileConfig

_FLAGS = (
    "HAS_WINDOW", "HAS_DOCUMENTS", "HAS_SINKS", "HAS_KEY_MASK", "HAS_SOFTCAP", "HAS_ALIBI",
    "HAS_DROPOUT",
)  # fmt: skip
# The levels of `configs.LEVELS`, and single features for the table of kernels.
FEATURES: dict[str, dict[str, bool]] = {
    "causal": {},
    "full": {"CAUSAL": False},
    "ranges": dict.fromkeys(_FLAGS[:3], True),
    "everything": dict.fromkeys(_FLAGS, True),
    **{flag[4:].lower().replace("_", " "): {flag: True} for flag in _FLAGS},
}

_OPTIONAL_POINTERS = {
    "KeyMask": ("HAS_KEY_MASK", "*u8"),
    "DocumentStart": ("HAS_DOCUMENTS", "*i32"),
    "DocumentStop": ("HAS_DOCUMENTS", "*i32"),
    "Slopes": ("HAS_ALIBI", "*fp32"),
    "Sinks": ("HAS_SINKS", "*fp32"),
    "Seed": ("HAS_DROPOUT", "*i64"),
}


class Case(NamedTuple):
    """One kernel at one configuration for one architecture."""

    kernel: str
    architecture: int
    dtype: str  # triton's name: "bf16", "fp16", "fp32"
    head_dim: int
    features: str
    config: TileConfig

    def __str__(self) -> str:
        c = self.config
        return (
            f"{self.kernel} sm_{self.architecture} {self.dtype} D={self.head_dim} {self.features} "
            f"{c.block_m}x{c.block_n} warps={c.num_warps} stages={c.num_stages}"
            + (" tma" if c.tma else "")
        )


def kernel_function(name: str) -> Any:
    from . import backward, forward

    return {
        "forward": forward.attention_forward_kernel,
        "key_gradient": backward.key_gradient_kernel,
        "query_gradient": backward.query_gradient_kernel,
    }[name]


def specification(kernel: Any, case: Case) -> tuple[dict[str, str], dict[str, Any], frozenset[str]]:
    """(types, constants, aligned) for `compile_kernel`: what a launch of this case would pass."""
    from .launch import padded_head_dim

    config = case.config
    block_d = padded_head_dim(case.head_dim)
    flags: dict[str, Any] = {"CAUSAL": True, **dict.fromkeys(_FLAGS, False)}
    flags.update(FEATURES[case.features])
    constants: dict[str, Any] = {
        "D": case.head_dim,
        "BLOCK_D": block_d,
        "BLOCK_M": config.block_m,
        "BLOCK_N": config.block_n,
        "TMA": config.tma,
        "PRECISION": "tf32x3",
        **flags,
    }
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    rows = {"Q": config.block_m, "G": config.block_m, "K": config.block_n, "V": config.block_n}
    types: dict[str, str] = {}
    aligned = set()
    for name in kernel.arg_names:
        if name in constants:
            continue
        if name in rows and config.tma:
            types[name] = f"tensordesc<{case.dtype}[1, 1, {rows[name]}, {block_d}]>"
        elif name in _OPTIONAL_POINTERS:
            flag, pointer = _OPTIONAL_POINTERS[name]
            if flags[flag]:
                types[name] = pointer
            else:
                constants[name] = None
        elif name in ("Lse", "Log2Lse", "Delta"):
            types[name] = "*fp32"
        elif name[0].isupper() and name not in ("H", "T", "S", "GROUP", "T_PADDED"):
            types[name] = f"*{case.dtype}"
        elif name.startswith("stride_") and (name.endswith("d") or name == "stride_mask_s"):
            constants[name] = 1
        elif name.startswith("stride_"):
            types[name] = "i32"
            aligned.add(name)
        elif name in ("scale", "softcap", "keep_scale"):
            types[name] = "fp32"
        else:
            types[name] = "i64" if name == "threshold" else "i32"
    return types, constants, frozenset(aligned)


def compile_case(case: Case) -> KernelReport:
    """Compile one case and read the result; raises what the compiler raises."""
    kernel = kernel_function(case.kernel)
    types, constants, aligned = specification(kernel, case)
    options = {"num_warps": case.config.num_warps, "num_stages": case.config.num_stages}
    compiled, log = compile_kernel(kernel, types, constants, case.architecture, options, aligned)
    return inspect(compiled, log)
