"""Which number type, device and compiler a run uses: chosen once, each with its reason."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from gptpy.config.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(requested: str = "auto") -> torch.device:
    """The device asked for, or CUDA, Apple's MPS, CPU in this order; `ConfigError` if not there."""
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
        raise ConfigError(f"device {requested!r} was asked for, but torch sees no CUDA device")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device {requested!r} was asked for, but torch sees no MPS device")
    return device


def choose_dtype(device: torch.device, requested: str = "auto") -> tuple[torch.dtype, str]:
    """The type that matrix products run in under autocast, and why."""
    if requested != "auto":
        if requested not in DTYPES:
            raise ConfigError(f"dtype must be auto or one of {', '.join(DTYPES)}: {requested!r}")
        return DTYPES[requested], "as asked"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "this GPU multiplies bfloat16"
        return torch.float16, "this GPU has no bfloat16; gradients are scaled"
    if device.type == "cpu" and cpu_multiplies_bfloat16():
        return torch.bfloat16, "this CPU multiplies bfloat16 (AVX512-BF16 or AMX)"
    return torch.float32, f"this {device.type} has no faster type"


def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for it; emulation is slower than float32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


# On two cores the eager path needs 7 ms a step more than compiled code at 0.8 M parameters and
# nothing more at 10 M, while compiling takes 10 to 35 s (benches/records/model.md).
COMPILE_STEPS = 5000


def choose_compile(
    device: torch.device, requested: str = "auto", steps: int | None = None
) -> tuple[bool, str]:
    """Whether to run through `torch.compile`, and why.

    `auto` compiles where a compiler is at hand; on a CPU, whose eager path is lean, only runs of
    at least `COMPILE_STEPS` `steps` (None: not known) win back the compiler's time. The first step
    may still find a compiler broken (missing Python headers, say); the trainer then goes on
    without and says so.
    """
    if requested == "off":
        return False, "as asked"
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "c++", "clang++"))):
        if requested == "on":
            raise ConfigError("compile 'on' needs a C++ compiler on a CPU: install g++ or clang++")
        return False, "there is no C++ compiler"
    if requested == "on":
        return True, "as asked"
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


# Dense bfloat16 peaks of data sheets, in FLOP/s, without sparsity.
GPU_PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "RTX 5090": 210e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """The device's peak for matrix products in `dtype`: a GPU's data sheet, a CPU measured once."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        peak = next((peak for key, peak in GPU_PEAKS.items() if key in name), None)
        if peak is None:
            return None
        return peak if dtype in (torch.bfloat16, torch.float16) else peak / 2
    return _measured_cpu_peak(dtype) if device.type == "cpu" else None


def _measured_cpu_peak(dtype: torch.dtype, size: int = 768, repeats: int = 4) -> float:
    """FLOP/s of the best of a few square products: what a real CPU, shared or throttled, gives."""
    import time

    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    _ = a @ b
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        _ = a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
