"""The attention kernels as the compile gates see them: argument types for every configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gptpy_kernels.attention.configs import (
    CLASS_ARCHITECTURES,
    HOPPER_BLOCK,
    HOPPER_HEAD_DIMS,
    HOPPER_REGISTERS,
    HOPPER_STAGES,
    TABLE,
    Architecture,
    TileConfig,
    class_of,
)
from gptpy_kernels.attention.launch import padded_head_dim

from kernel_gates.compilation import KernelReport, compile_kernel, float32_products, name_of
from kernel_gates.machine_code import MATRIX_RATE

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
    "Low": ("HAS_DOCUMENTS", "*i32"),
    "High": ("HAS_DOCUMENTS", "*i32"),
    "Shift": ("HAS_DOCUMENTS", "*i32"),
    "Slopes": ("HAS_ALIBI", "*fp32"),
    "Sinks": ("HAS_SINKS", "*fp32"),
    "Seed": ("HAS_DROPOUT", "*i64"),
}


# Matrix products of a turn of the loop, each of BLOCK_M x BLOCK_N x BLOCK_D.
PRODUCTS = {"forward": 2, "key_gradient": 4, "query_gradient": 3}
TF32_PARTS = 3
"""Products that "tf32x3" makes of one."""
# At D = 256 both gradients of a key tile fill the registers: 64 keys spill, and with fewer the
# warps share rows, so that each computes the scores of all. With 100 KB of shared memory the other
# kernels' tiles are as small.
DUPLICATION_IS_KNOWN_FROM = 256
# With every feature at once every other tile that was tried spills.
KNOWN_DUPLICATES = {
    ("forward", 89, 128, "everything"),
    ("forward", 120, 128, "everything"),
}
# Gradients of float32 at D = 128: the parts of larger tiles fill the registers, and of smaller
# ones warps share the rows. On sm_120 dQ spills where the others do not.
KNOWN_FLOAT32_DUPLICATES = {
    *(("key_gradient", architecture, 128) for architecture in (80, 89, 90, 100, 120)),
    *(("query_gradient", architecture, 128) for architecture in (89, 120)),
}


class Case(NamedTuple):
    """One kernel at one configuration for one architecture."""

    kernel: str
    architecture: Architecture
    dtype: str  # triton's name: "bf16", "fp16", "fp32"
    head_dim: int
    features: str
    config: TileConfig

    @classmethod
    def parse(cls, fields: Sequence[Any]) -> Case:
        """A case that went through JSON."""
        kernel, architecture, dtype, head_dim, features, config = fields
        return cls(kernel, architecture, dtype, head_dim, features, TileConfig(*config))

    @property
    def size(self) -> str:
        return f"D={self.head_dim}"

    @property
    def matrix_flops(self) -> int:
        """What a turn of the loop over full tiles needs of the matrix units."""
        rows, keys = self.config[:2]
        return PRODUCTS[self.kernel] * 2 * rows * keys * padded_head_dim(self.head_dim)

    @property
    def in_parts(self) -> bool:
        """Whether each product is made of three TF32 ones."""
        return self.dtype == "fp32" and float32_products(self.architecture) == "tf32x3"

    def duplication(self, report: KernelReport) -> float | None:
        """Matrix operations issued over those needed; None where the code does not tell.

        Fifth-generation products show no shape.
        """
        loop = report.loop
        if loop is None or not loop.matrix_flops or self.kernel not in PRODUCTS:
            return None
        return loop.matrix_flops / self.matrix_flops / (TF32_PARTS if self.in_parts else 1)

    def predicted_share(self, report: KernelReport) -> tuple[float, str] | None:
        """Share of the matrix units' peak that the busiest unit leaves, and which one it is."""
        loop = report.loop
        if loop is None or self.kernel not in PRODUCTS or self.dtype == "fp32":
            return None
        needed = self.matrix_flops / MATRIX_RATE[self.architecture]
        cycles = loop.cycles(self.architecture)
        cycles["matrix"] = max(cycles["matrix"], needed)
        busiest = max(cycles, key=lambda unit: cycles[unit])
        return needed / cycles[busiest], busiest

    def problems(self, report: KernelReport) -> list[str]:
        """Why this compiled kernel is refused; empty when it is what was meant."""
        kind = class_of(self.architecture)
        counts, config = report.counts, self.config
        found = report.problems(self.architecture)
        # Below 64 rows of 16 columns a tile is too small for warp-group instructions.
        if kind == "hopper" and config.tma and min(config[:2]) >= 32:
            if not counts["hgmma"]:
                found.append("no warp-group products")
            if counts["hmma"]:
                found.append(f"{counts['hmma']} products without a warp group")
        if config.tma and not counts["tma_load"]:
            found.append("no bulk copies")
        fifth = kind == "blackwell" and config.tma and self.kernel == "forward"
        if fifth and not counts["tcgen05"]:
            found.append("no fifth-generation matrix products")
        if kind == "amd" and not counts["mfma"]:
            found.append("no matrix products")
        issued = self.duplication(report)
        known = (
            self.head_dim >= DUPLICATION_IS_KNOWN_FROM
            or (self.kernel, self.architecture, self.head_dim, self.features) in KNOWN_DUPLICATES
            or (
                self.in_parts
                and (self.kernel, self.architecture, self.head_dim) in KNOWN_FLOAT32_DUPLICATES
            )
        )
        if issued and issued > 1.05 and not known:
            found.append(f"{issued:.2f} times the matrix products that are needed")
        return found

    def __str__(self) -> str:
        c = self.config
        return (
            f"{self.kernel} {name_of(self.architecture)} {self.dtype} D={self.head_dim} "
            f"{self.features} {c.block_m}x{c.block_n} warps={c.num_warps} stages={c.num_stages}"
            + (" tma" if c.tma else "")
        )


def kernel_function(name: str) -> Any:
    from gptpy_kernels.attention import backward_keys, backward_queries, forward

    return {
        "forward": forward.attention_forward_kernel,
        "key_gradient": backward_keys.key_gradient_kernel,
        "query_gradient": backward_queries.query_gradient_kernel,
    }[name]


def specification(kernel: Any, case: Case) -> tuple[dict[str, str], dict[str, Any], frozenset[str]]:
    """(types, constants, aligned) for `compile_kernel`: what a launch of this case would pass."""
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
        "PRECISION": float32_products(case.architecture),
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


HOPPER_KERNEL = "hopper_forward"


def _hopper_specification(case: Case) -> tuple[dict[str, str], dict[str, Any]]:
    from triton.experimental.gluon import language

    gl: Any = language

    dtype = {"bf16": gl.bfloat16, "fp16": gl.float16}[case.dtype]

    def tile(rows: int) -> str:
        shape = [1, 1, rows, case.head_dim]
        layout = gl.NVMMASharedLayout.get_default_for(shape, dtype)
        return f"tensordesc<{case.dtype}{shape},{layout!r}>"

    c = case.config
    half, full = tile(c.block_m // 2), tile(c.block_n)
    types = {"q_desc": half, "o_desc": half, "k_desc": full, "v_desc": full, "Lse": "*fp32"}
    types.update(dict.fromkeys(("H", "GROUP", "T", "S"), "i32"), scale="fp32")
    constants = {
        "D": case.head_dim,
        "BLOCK_M": c.block_m,
        "BLOCK_N": c.block_n,
        "STAGES": c.num_stages,
        "CAUSAL": case.features != "full",
    }
    return types, constants


def compile_case(case: Case) -> KernelReport:
    """Compile one case and read the result; raises what the compiler raises."""
    if case.kernel == HOPPER_KERNEL:
        from gptpy_kernels.attention.hopper_forward import hopper_forward_kernel

        types, constants = _hopper_specification(case)
        options = {"num_warps": case.config.num_warps, "maxnreg": HOPPER_REGISTERS}
        return compile_kernel(hopper_forward_kernel, types, constants, case.architecture, options)
    kernel = kernel_function(case.kernel)
    types, constants, aligned = specification(kernel, case)
    options = {"num_warps": case.config.num_warps, "num_stages": case.config.num_stages}
    return compile_kernel(kernel, types, constants, case.architecture, options, aligned)


def hopper_cases() -> list[Case]:
    """Every form in which `launch` may start the warp-specialised kernel."""
    config = TileConfig(HOPPER_BLOCK, HOPPER_BLOCK, 4, HOPPER_STAGES, tma=True)
    return [
        Case(HOPPER_KERNEL, 90, dtype, dim, features, config)
        for dtype in ("bf16", "fp16")
        for dim in HOPPER_HEAD_DIMS
        for features in ("causal", "full")
    ]


def table_cases(kinds: Sequence[str] = tuple(CLASS_ARCHITECTURES)) -> list[Case]:
    """Every entry of `configs.TABLE` on every architecture of its class."""
    dtypes = {2: "bf16", 4: "fp32"}
    return [
        Case(kernel, architecture, dtypes[itemsize], head_dim, level, config)
        for (kind, itemsize, kernel, level), entries in TABLE.items()
        if kind in kinds
        for architecture in CLASS_ARCHITECTURES[kind]
        for head_dim, config in entries.items()
    ]
