"""Measure tile shapes on the device at hand and use the fastest: an option, never a default.

Candidates are the static table's entries for the same kernel and element size on every class of
device: all of them passed the compile gates somewhere, so few fail and none surprises.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable

import torch

from . import configs, launch
from .configs import TileConfig
from .options import AttentionOptions

log = logging.getLogger(__name__)


def candidates(kernel: str, block_d: int, itemsize: int, tma: bool) -> list[TileConfig]:
    """Distinct table entries for a kernel, with and without bulk copies where `tma` allows them."""
    found: dict[TileConfig, None] = {}
    for (_, size, name, _), entries in configs.TABLE.items():
        if size != itemsize or name != kernel:
            continue
        for dim, entry in entries.items():
            if dim >= block_d // 2:
                for use in (True, False) if tma else (False,):
                    found[entry._replace(tma=use)] = None
    return list(found)


def milliseconds(function: Callable[[], object], repeats: int = 10) -> float:
    """Median time of a call on the GPU, after three that do not count."""
    for _ in range(3):
        function()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def tune(
    head_dim: int,
    dtype: torch.dtype,
    *,
    T: int = 4096,
    heads: int = 16,
    device: torch.device | str = "cuda",
    measure: Callable[[Callable[[], object]], float] = milliseconds,
) -> dict[str, tuple[TileConfig, float]]:
    """The fastest entry of every kernel for causal attention, and its milliseconds.

    The entries stay in force for this process. A candidate that fails to launch is skipped and
    logged; if all fail, the static table stays.
    """
    device = torch.device(device)
    block_d = launch.padded_head_dim(head_dim)
    kind = configs.device_class(device)
    q, k, v, g = torch.randn(4, 1, T, heads, head_dim, device=device, dtype=dtype)
    options = AttentionOptions(head_dim**-0.5)
    out, lse = launch.attention_forward(q, k, v, options)
    size = q.element_size()
    best: dict[str, tuple[TileConfig, float]] = {}
    for kernel in configs.KERNELS:

        def call(kernel: str = kernel) -> object:
            if kernel == "forward":
                return launch.attention_forward(q, k, v, options)
            return launch.attention_backward(g, None, q, k, v, out, lse, options)

        tma = kind in ("hopper", "blackwell", "interpreter") and size == 2
        for config in candidates(kernel, block_d, size, tma):
            configs.override(kernel, block_d, size, config)
            try:
                time = measure(call)
            # Out of shared memory or registers, or the compiler gives up: one candidate fewer.
            except Exception as error:
                log.info("%s %s: %s", kernel, config, str(error).strip().splitlines()[:1])
                continue
            if kernel not in best or time < best[kernel][1]:
                best[kernel] = (config, time)
        configs.override(kernel, block_d, size, best[kernel][0] if kernel in best else None)
    return best
