"""Tile shapes of the attention kernels: one static table; every entry passed the compile gates.

Every entry compiles without spills and within the shared memory of its class on every architecture
that the class names (tests/kernels/test_compile_gates.py). `autotune.py` may replace an entry at
run time.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

# Bytes of shared memory that a program may take, by architecture (sm_80, ...).
SHARED_MEMORY_LIMIT = {80: 166_912, 89: 101_376, 90: 232_448, 100: 232_448, 120: 101_376}


class TileConfig(NamedTuple):
    """One way to launch a kernel: tile rows of queries and keys, warps, pipeline stages, TMA."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    tma: bool = False


# Classes of devices: "hopper" sm_90, "blackwell" sm_100, "large" sm_80 (164 KB of shared memory a
# program), "small" every other (100 KB: sm_86, sm_89, sm_120), "interpreter" none at all.
CLASS_ARCHITECTURES = {"hopper": (90,), "blackwell": (100,), "large": (80,), "small": (89, 120)}


def class_of(architecture: int) -> str:
    """The class of sm_<architecture>, one of those that the gates compile for."""
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

    Where an entry is missing: the next level of the class, which compiles to more registers, then a
    tile so small that it fits everywhere.
    """
    known = _overrides.get((kernel, block_d, itemsize, level))
    if known is not None:
        return known
    if kind == "interpreter":
        return TileConfig(32, 32, 4, 1)
    for name in LEVELS[LEVELS.index(level) :]:
        entry = TABLE.get((kind, itemsize, kernel, name), {}).get(block_d)
        if entry is not None:
            return entry
    return TileConfig(32, 32, 4, 1) if block_d * itemsize <= 128 else TileConfig(16, 16, 8, 1)


TABLE: dict[tuple[str, int, str, str], dict[int, TileConfig]] = {
    ("hopper", 2, "forward", "causal"): {
        16: TileConfig(128, 128, 8, 3, tma=True),
        32: TileConfig(128, 128, 8, 3, tma=True),
        64: TileConfig(128, 128, 8, 3, tma=True),
        128: TileConfig(128, 128, 8, 3, tma=True),
        256: TileConfig(128, 64, 8, 2, tma=True),
    },
    ("hopper", 2, "forward", "ranges"): {
        64: TileConfig(128, 128, 8, 3, tma=True),
        128: TileConfig(128, 128, 8, 3, tma=True),
    },
    ("hopper", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 8, 2, tma=True),
        128: TileConfig(128, 64, 8, 3, tma=True),
    },
    ("hopper", 2, "key_gradient", "causal"): {
        16: TileConfig(64, 128, 8, 2, tma=True),
        32: TileConfig(64, 128, 8, 2, tma=True),
        64: TileConfig(64, 128, 8, 2, tma=True),
        128: TileConfig(64, 64, 8, 2, tma=True),
        256: TileConfig(32, 32, 8, 2),
    },
    ("hopper", 2, "key_gradient", "ranges"): {
        64: TileConfig(64, 128, 8, 2, tma=True),
        128: TileConfig(32, 64, 8, 2, tma=True),
    },
    ("hopper", 2, "key_gradient", "everything"): {
        64: TileConfig(32, 64, 4, 2, tma=True),
        128: TileConfig(32, 64, 8, 2, tma=True),
    },
    ("hopper", 2, "query_gradient", "causal"): {
        16: TileConfig(128, 128, 8, 2, tma=True),
        32: TileConfig(128, 128, 8, 2, tma=True),
        64: TileConfig(128, 128, 8, 2, tma=True),
        128: TileConfig(128, 128, 8, 2, tma=True),
        256: TileConfig(64, 32, 8, 2, tma=True),
    },
    ("hopper", 2, "query_gradient", "ranges"): {
        64: TileConfig(128, 128, 8, 2, tma=True),
        128: TileConfig(128, 128, 8, 2, tma=True),
    },
    ("hopper", 2, "query_gradient", "everything"): {
        64: TileConfig(128, 64, 8, 3, tma=True),
        128: TileConfig(128, 64, 8, 3, tma=True),
    },
    ("hopper", 4, "forward", "causal"): {
        64: TileConfig(64, 32, 8, 2),
        128: TileConfig(32, 32, 8, 2),
    },
    ("hopper", 4, "forward", "everything"): {
        64: TileConfig(32, 32, 8, 2),
        128: TileConfig(16, 32, 8, 1),
    },
    ("hopper", 4, "key_gradient", "causal"): {
        64: TileConfig(32, 32, 8, 2),
        128: TileConfig(16, 16, 8, 1),
    },
    ("hopper", 4, "key_gradient", "everything"): {
        64: TileConfig(16, 16, 4, 1),
        128: TileConfig(16, 16, 8, 1),
    },
    ("hopper", 4, "query_gradient", "causal"): {
        64: TileConfig(32, 32, 8, 2),
        128: TileConfig(16, 32, 8, 1),
    },
    ("hopper", 4, "query_gradient", "everything"): {
        64: TileConfig(32, 32, 8, 2),
        128: TileConfig(16, 32, 8, 1),
    },
    ("blackwell", 2, "forward", "causal"): {
        64: TileConfig(128, 128, 8, 3, tma=True),
        128: TileConfig(128, 128, 8, 3, tma=True),
    },
    ("blackwell", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 8, 3, tma=True),
    },
    ("blackwell", 2, "key_gradient", "causal"): {
        64: TileConfig(64, 128, 8, 2, tma=True),
        128: TileConfig(64, 64, 8, 2, tma=True),
    },
    ("blackwell", 2, "query_gradient", "causal"): {
        64: TileConfig(128, 128, 8, 2, tma=True),
        128: TileConfig(128, 128, 8, 2, tma=True),
    },
    ("large", 2, "forward", "causal"): {
        32: TileConfig(128, 64, 4, 3),
        64: TileConfig(128, 64, 4, 3),
        128: TileConfig(128, 64, 8, 2),
        256: TileConfig(64, 64, 8, 2),
    },
    ("large", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(64, 64, 8, 2),
    },
    ("large", 2, "key_gradient", "causal"): {
        32: TileConfig(64, 64, 8, 2),
        64: TileConfig(32, 64, 4, 2),
        128: TileConfig(32, 64, 8, 2),
        256: TileConfig(32, 32, 8, 1),
    },
    ("large", 2, "key_gradient", "everything"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(32, 32, 4, 1),
    },
    ("large", 2, "query_gradient", "causal"): {
        32: TileConfig(128, 64, 8, 3),
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(64, 64, 8, 2),
        256: TileConfig(64, 64, 8, 2),
    },
    ("large", 2, "query_gradient", "everything"): {
        64: TileConfig(64, 64, 8, 2),
        128: TileConfig(64, 64, 8, 2),
    },
    ("large", 4, "forward", "causal"): {
        64: TileConfig(32, 32, 8, 2),
        128: TileConfig(32, 32, 8, 2),
    },
    ("large", 4, "forward", "everything"): {
        64: TileConfig(32, 32, 8, 2),
        128: TileConfig(32, 32, 8, 2),
    },
    ("large", 4, "key_gradient", "causal"): {
        64: TileConfig(32, 32, 8, 1),
        128: TileConfig(16, 16, 8, 1),
    },
    ("large", 4, "key_gradient", "everything"): {
        64: TileConfig(16, 16, 4, 1),
        128: TileConfig(16, 16, 8, 1),
    },
    ("large", 4, "query_gradient", "causal"): {
        64: TileConfig(32, 32, 8, 2),
        128: TileConfig(16, 32, 8, 1),
    },
    ("large", 4, "query_gradient", "everything"): {
        64: TileConfig(32, 32, 8, 2),
        128: TileConfig(16, 32, 8, 1),
    },
    ("small", 2, "forward", "causal"): {
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(128, 64, 8, 2),
    },
    ("small", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(64, 32, 8, 2),
    },
    ("small", 2, "key_gradient", "causal"): {
        64: TileConfig(32, 64, 8, 2),
        128: TileConfig(32, 64, 8, 2),
    },
    ("small", 2, "key_gradient", "everything"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(32, 64, 8, 1),
    },
    ("small", 2, "query_gradient", "causal"): {
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(64, 64, 8, 2),
    },
    ("small", 2, "query_gradient", "everything"): {
        64: TileConfig(64, 64, 8, 2),
        128: TileConfig(64, 64, 8, 2),
    },
}
