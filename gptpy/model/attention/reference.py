"""Attention as the formula says it: the twin that the fast back ends are tested against."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    scale: float | None = None,
    softcap: float | None = None,
    dropout_p: float = 0.0,
) -> Tensor:
    """The formula, in at least fp32, line by line."""
    groups = q.shape[2] // k.shape[2]
    wide = torch.promote_types(q.dtype, torch.float32)
    k = k.repeat_interleave(groups, dim=2).to(wide)
    v = v.repeat_interleave(groups, dim=2).to(wide)
    scores = torch.einsum("bthd,bshd->bhts", q.to(wide), k)
    scores = scores * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        if bias.dtype == torch.bool:
            scores = scores.masked_fill(~bias, -math.inf)
        else:
            scores = scores + bias.to(wide)
    weights = torch.softmax(scores, dim=-1)
    # A row without a single visible key is 0 / 0: it looks at nothing.
    weights = torch.where(torch.isneginf(scores).all(-1, keepdim=True), 0.0, weights)
    weights = F.dropout(weights, dropout_p, training=dropout_p > 0)
    return torch.einsum("bhts,bshd->bthd", weights, v).to(q.dtype)
