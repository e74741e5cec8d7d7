"""Which tile shape a launch takes from the static table of `tile_table.py`.

Every entry compiles without spills and within the shared memory of its class on every architecture
that the class names (tests/kernels/test_compile_gates.py). `autotune.py` may replace an entry at
run time.
"""

from __future__ import annotations

import logging
import os

import torch

from ..devices import amd_architecture
from .tile_table import TABLE, TileConfig

log = logging.getLogger(__name__)

Architecture = int | str
"""NVIDIA's by number, 90 for sm_90; AMD's by name, "gfx942"."""

# Bytes of shared memory that a program may take.
SHARED_MEMORY_LIMIT: dict[Architecture, int] = {
    80: 166_912, 89: 101_376, 90: 232_448, 100: 232_448, 120: 101_376, "gfx942": 65_536,
}  # fmt: skip


# Classes of devices: "hopper" sm_90, "blackwell" sm_100, "large" sm_80 (164 KB of shared memory a
# program), "small" every other of NVIDIA (100 KB: sm_86, sm_89, sm_120), "amd" AMD's gfx942
# (MI300), "interpreter" none at all. "... pointers": the same devices where a tensor's strides keep
# the bulk copies (TMA) off it.
CLASS_ARCHITECTURES: dict[str, tuple[Architecture, ...]] = {
    "hopper": (90,),
    "blackwell": (100,),
    "large": (80,),
    "small": (89, 120),
    "hopper pointers": (90,),
    "blackwell pointers": (100,),
    "amd": ("gfx942",),
}
WITHOUT_TMA = {"hopper": "hopper pointers", "blackwell": "blackwell pointers"}


def class_of(architecture: Architecture) -> str:
    """The class of one of the architectures that the gates compile for."""
    return next(kind for kind, values in CLASS_ARCHITECTURES.items() if architecture in values)


def shared_memory_limit(kind: str) -> int:
    """Bytes of shared memory that a program may take on a class of devices."""
    return min(SHARED_MEMORY_LIMIT[architecture] for architecture in CLASS_ARCHITECTURES[kind])


# How much a call asks of the registers: "causal" order or none; "ranges" adds windows, documents
# and sinks; "everything" adds masks, soft cap, ALiBi and dropout.
LEVELS = ("causal", "ranges", "everything")
KERNELS = ("forward", "key_gradient", "query_gradient")


def device_class(device: torch.device) -> str:
    """Which column of the table a device reads."""
    if device.type != "cuda":
        return "interpreter"
    if amd_architecture(device) is not None:
        return "amd"
    capability = torch.cuda.get_device_capability(device)
    if capability == (9, 0):
        return "hopper"
    if capability[0] == 10:
        return "blackwell"
    return "large" if capability == (8, 0) else "small"


# The warp-specialised Hopper kernel (hopper_forward.py) is off by default: it compiles clean but
# has never run on a GPU, and a mistake in its barriers would hang one. `make gpu-check` and
# `make gpu-bench` switch it on, in a process with a time limit.
HOPPER_VARIABLE = "GPTPY_HOPPER_KERNEL"
HOPPER_HEAD_DIMS = (64, 128)
HOPPER_BLOCK = 128
HOPPER_STAGES = 2
HOPPER_REGISTERS = 168  # at entry; the groups then take 240 and the copying warp 24


def hopper_kernel_enabled() -> bool:
    return os.environ.get(HOPPER_VARIABLE, "0") == "1"


_overrides: dict[tuple[str, int, int, str], TileConfig] = {}


def override(
    kernel: str, block_d: int, itemsize: int, config: TileConfig | None, level: str = "causal"
) -> None:
    """Replace the table's entry of one level (None restores it): for the tuner and for tests."""
    if config is None:
        _overrides.pop((kernel, block_d, itemsize, level), None)
    else:
        _overrides[kernel, block_d, itemsize, level] = config


def choose(kernel: str, kind: str, block_d: int, itemsize: int, level: str) -> TileConfig:
    """The entry for a kernel, a device class, a padded head dim, an element size in bytes, a level.

    Where an entry is missing: the next level of the class, which compiles to more registers. Where
    all of them are, a neighbour that passed the gates, with one warning: that of the next larger
    head dim, then those of the classes in `NEIGHBOURS`.
    """
    known = _overrides.get((kernel, block_d, itemsize, level))
    if known is not None:
        return known
    if kind == "interpreter":
        return TileConfig(32, 32, 4, 1)
    for near in (kind, *NEIGHBOURS[kind]):
        for dim in (block_d, *(d for d in (32, 64, 128, 256) if d > block_d)):
            for name in LEVELS[LEVELS.index(level) :]:
                entry = TABLE.get((near, itemsize, kernel, name), {}).get(dim)
                if entry is not None:
                    if (near, dim) != (kind, block_d):
                        _warn_once((kernel, kind, block_d, itemsize, level), (near, dim, entry))
                    return entry
    _warn_once((kernel, kind, block_d, itemsize, level), ("any", block_d, SMALLEST))
    return SMALLEST


SMALLEST = TileConfig(16, 16, 4, 1)
NEIGHBOURS = {
    "hopper": ("hopper pointers", "large", "small"),
    "hopper pointers": ("large", "small"),
    "blackwell": ("blackwell pointers", "large", "small"),
    "blackwell pointers": ("large", "small"),
    "large": ("small",),
    "small": (),
    "amd": (),
}
_warned: set[tuple[str, str, int, int, str]] = set()


def _warn_once(wanted: tuple[str, str, int, int, str], found: tuple[str, int, TileConfig]) -> None:
    if wanted in _warned:
        return
    _warned.add(wanted)
    kernel, kind, block_d, itemsize, level = wanted
    near, dim, config = found
    log.warning(
        "attention %s: no tile for %s devices at D = %d, %d bytes, level %s: taking that of %s "
        "devices at D = %d (%d x %d), which may be slow",
        kernel, kind, block_d, itemsize, level, near, dim, config.block_m, config.block_n,
    )  # fmt: skip
