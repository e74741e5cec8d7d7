"""Where a CPU form is used, and in which number type it computes."""

from __future__ import annotations

import torch
from torch import Tensor


def eager_on_cpu(x: Tensor) -> bool:
    """Whether `x` is on a CPU and neither compiled nor exported: the CPU forms are for this case.

    `torch.compile` fuses the plain formulas itself, and exports should hold torch's own operators.
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def compute_dtype(x: Tensor) -> torch.dtype:
    """The number type of matrix products with `x`: autocast's where it is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
