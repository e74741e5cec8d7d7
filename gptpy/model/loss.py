"""Cross entropy of next tokens."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

IGNORE = -100
"""Targets with this value take no part in the loss."""


def check_reduction(reduction: str) -> Literal["mean", "sum", "none"]:
    """The same, or `ValueError`."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
    return reduction


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Nats a token, in fp32, of `logits: (B, T, V)` for `targets: (B, T)` int64.

    "mean" over the targets that are not `IGNORE`, "sum", or "none": `(B, T)`, zero where ignored.
    """
    reduction = check_reduction(reduction)
    losses = F.cross_entropy(
        logits.float().flatten(0, -2), targets.flatten(), ignore_index=IGNORE, reduction=reduction
    )
    return losses.view(targets.shape) if reduction == "none" else losses
