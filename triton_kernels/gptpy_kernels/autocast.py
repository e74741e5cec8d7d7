"""What an enclosing torch.autocast asks of an operator's inputs.

Autocast does not look into an operator, so the public calls cast before it, as torch casts for its
own matrix products. Inside an operator it is still on: there `off` keeps sums in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def cast(x: Tensor) -> Tensor:
    """x in the dtype of an enclosing torch.autocast, if there is one for its device."""
    if not isinstance(x, Tensor) or x.dtype not in DTYPES:
        return x  # float64 stays, as torch leaves it; what is no tensor is the caller's error
    device = x.device.type
    if device not in ("cuda", "cpu", "mps", "xpu") or not torch.is_autocast_enabled(device):
        return x
    return x.to(torch.get_autocast_dtype(device))


def off(x: Tensor) -> Any:
    """A context in which an enclosing torch.autocast does not turn products to half precision."""
    return torch.autocast(x.device.type, enabled=False)
