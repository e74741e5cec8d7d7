"""Peak speed of a device's matrix products, the denominator of model FLOPs utilisation."""

from __future__ import annotations

import time

import torch

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
    """FLOP/s that matrix products in `dtype` can reach; None where that is not known.

    A GPU's from its data sheet, a CPU's measured here (some milliseconds).
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        peak = next((peak for key, peak in GPU_PEAKS.items() if key in name), None)
        if peak is None:
            return None
        return peak if dtype in (torch.bfloat16, torch.float16) else peak / 2
    return _measured_cpu_peak(dtype) if device.type == "cpu" else None


def _measured_cpu_peak(dtype: torch.dtype, size: int = 768, repeats: int = 4) -> float:
    """FLOP/s of the best of a few square products: includes throttling and shared cores."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    _ = a @ b
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        _ = a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
