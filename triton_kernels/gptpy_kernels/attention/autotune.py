"""Measure tile shapes on the device at hand and use the fastest: an option, never a default.

Candidates are the static table's entries for the same kernel and element size on every class of
device, as far as the device's shared memory and copy engine allow: each passed the compile gates on
some device. A candidate whose numbers differ from the static table's is thrown away.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from . import configs, launch
from .configs import TileConfig
from .options import AttentionOptions

log = logging.getLogger(__name__)


def candidates(kernel: str, block_d: int, itemsize: int, kind: str) -> list[TileConfig]:
    """Distinct table entries that may run on a class of devices, for heads of `block_d` columns.

    Bulk copies (TMA) exist for 16-bit tiles on Hopper and later; there both ways are candidates.
    """
    interpreted = kind == "interpreter"
    limit = None if interpreted else configs.shared_memory_limit(kind)
    copies = itemsize == 2 and (interpreted or kind in ("hopper", "blackwell"))
    found: dict[TileConfig, None] = {}
    for (source, size, name, _), entries in configs.TABLE.items():
        if size != itemsize or name != kernel:
            continue
        if limit is not None and configs.shared_memory_limit(source) > limit:
            continue
        for dim, entry in entries.items():
            if dim >= block_d // 2:
                for tma in (True, False) if copies else (False,):
                    found[entry._replace(tma=tma)] = None
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

    The entries stay in force for this process, for calls with nothing but a causal mask. A
    candidate that fails to launch is skipped and logged; if all fail, the static table stays.
    """
    device = torch.device(device)
    block_d = launch.padded_head_dim(head_dim)
    kind = configs.device_class(device)
    q, k, v, g = torch.randn(4, 1, T, heads, head_dim, device=device, dtype=dtype)
    options = AttentionOptions(head_dim**-0.5)
    size = q.element_size()
    out, lse = launch.attention_forward(q, k, v, options)
    calls: dict[str, Callable[[], tuple[Tensor | None, ...]]] = {
        "forward": lambda: launch.attention_forward(q, k, v, options)
    }
    for kernel in configs.KERNELS[1:]:
        calls[kernel] = lambda: launch.attention_backward(g, None, q, k, v, out, lse, options)
    best: dict[str, tuple[TileConfig, float]] = {}
    for kernel, call in calls.items():
        want = call()
        for config in candidates(kernel, block_d, size, kind):
            configs.override(kernel, block_d, size, config)
            try:
                _check_numbers(call(), want)
                time = measure(call)
            # Out of shared memory or registers, or the compiler gives up: one candidate fewer.
            except Exception as error:
                log.info("%s %s: %s", kernel, config, str(error).strip().splitlines()[:1])
                continue
            if kernel not in best or time < best[kernel][1]:
                best[kernel] = (config, time)
        configs.override(kernel, block_d, size, best[kernel][0] if kernel in best else None)
    return best


def _check_numbers(got: tuple[Tensor | None, ...], want: tuple[Tensor | None, ...]) -> None:
    """Raises ArithmeticError where a candidate's numbers are not the static table's."""
    for a, b in zip(got, want, strict=True):
        if a is None or b is None:
            continue
        error = ((a - b).float().norm() / b.float().norm().clamp(min=1e-30)).item()
        if not error <= (1e-2 if a.element_size() == 2 else 1e-4):
            raise ArithmeticError(f"off by {error:.1e} from the static table's numbers")
