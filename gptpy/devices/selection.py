"""Which device, number type and compiler a run uses; each choice comes with its reason."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.devices.processes import World

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Shortest run on a CPU, in steps, that wins back the time of compiling (benches/records/model.md)
COMPILE_STEPS = 5000
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def choose_device(requested: str = "auto", world: World | None = None) -> torch.device:
    """The `requested` device; "auto": the first of CUDA, Apple's MPS and CPU that is there.

    Of several processes of `world` each takes the GPU of its own local rank. Raises `ConfigError`
    where the device is unknown or missing.
    """
    device = _known_device(requested)
    if device.type == "cuda" and world is not None and world.size > 1:
        return torch.device("cuda", world.local_rank)
    return device


def _known_device(requested: str) -> torch.device:
    if requested == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(requested)
    except RuntimeError:
        raise ConfigError(
            f"device {requested!r} is not known: use auto, cpu, cuda, cuda:N or mps"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {requested!r}: torch sees no CUDA device")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device {requested!r}: torch sees no MPS device")
    return device


def total_memory(device: torch.device) -> int | None:
    """Bytes of memory of a GPU, or of this machine or container; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type == "meta" or not hasattr(os, "sysconf"):  # Windows
        return None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        memory = min(memory, int(CONTAINER_LIMIT.read_text()))
    return memory


def choose_dtype(device: torch.device, requested: str = "auto") -> tuple[torch.dtype, str]:
    """The number type of matrix products under autocast, and why; `ConfigError` if unknown."""
    if requested != "auto":
        if requested not in DTYPES:
            raise ConfigError(f"dtype must be auto or one of {', '.join(DTYPES)}: {requested!r}")
        return DTYPES[requested], "as configured"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "this GPU multiplies bfloat16"
        return torch.float16, "this GPU has no bfloat16; gradients are scaled"
    if device.type == "cpu" and cpu_multiplies_bfloat16():
        return torch.bfloat16, "this CPU multiplies bfloat16 (AVX512-BF16 or AMX)"
    return torch.float32, f"this {device.type} has no faster type"


def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16; emulation is slower than float32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def choose_compile(
    device: torch.device, requested: str = "auto", steps: int | None = None
) -> tuple[bool, str]:
    """Whether to run through `torch.compile`, and why.

    "auto" compiles where there is a compiler; on a CPU, where it gains less, only runs of at least
    `COMPILE_STEPS` `steps` (None: unknown). A compiler that turns out to be broken in the first
    step (missing Python headers, say) is the trainer's to handle. Raises `ConfigError` for "on"
    without a compiler.
    """
    if requested == "off":
        return False, "as configured"
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "c++", "clang++"))):
        if requested == "on":
            raise ConfigError("compile 'on' needs a C++ compiler on a CPU: install g++ or clang++")
        return False, "there is no C++ compiler"
    if requested == "on":
        return True, "as configured"
    if device.type == "mps":
        return False, "torch.compile is young on MPS"
    if device.type == "cpu" and (steps or 0) < COMPILE_STEPS:
        length = "an unknown number of steps" if steps is None else f"{steps} steps"
        return False, f"{length} on a CPU would not win back the time of compiling"
    return True, "a compiler is there"


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Matrix products run in `dtype` inside the block; None and float32 change nothing."""
    if dtype is None or dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
