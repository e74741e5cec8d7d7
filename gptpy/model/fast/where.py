"""Where the lean forms are used."""

from __future__ import annotations

import torch
from torch import Tensor


def lean_pays(x: Tensor) -> bool:
    """Whether to take the lean form for `x`: on a CPU, outside of compilation and export."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type that matrix products of `x` run in: autocast's where it is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
