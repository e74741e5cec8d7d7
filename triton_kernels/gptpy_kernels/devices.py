"""Launches happen on the device of their tensors; which devices are AMD's.

Triton launches on the current device, whatever the tensors say: with tensors on `cuda:1` a kernel
would run on `cuda:0`, in a stream that knows nothing of what the tensors wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor


def amd_architecture(device: torch.device) -> str | None:
    """AMD's name of a device, as gfx942 for an MI300; None for devices of others.

    torch calls AMD's devices "cuda" too, and numbers them as if they were NVIDIA's.
    """
    if device.type != "cuda" or torch.version.hip is None:
        return None
    return str(torch.cuda.get_device_properties(device).gcnArchName).partition(":")[0]


def on_device_of(tensor: Tensor, kernel: Any) -> _Launcher:
    """`on_device_of(x, kernel)[grid](...)` launches a Triton kernel on the device of `x`.

    Raises ValueError where another tensor lies elsewhere: the kernel would read foreign memory.
    """
    return _Launcher(kernel, tensor.device)


class _Launcher:
    def __init__(self, kernel: Any, device: torch.device) -> None:
        self.kernel, self.device = kernel, device

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*arguments: Any, **constants: Any) -> None:
            for value in arguments:
                value = getattr(value, "base", value)  # of a tensor descriptor
                if isinstance(value, Tensor) and value.device != self.device:
                    raise ValueError(
                        f"expected all tensors on {self.device}, got one on {value.device}: "
                        "move it first"
                    )
            cuda = self.device.type == "cuda"
            with torch.cuda.device(self.device) if cuda else nullcontext():
                self.kernel[grid](*arguments, **constants)

        return launch
