"""Normalisation layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.lean import compute_dtype, lean_pays, rms_norm


class RMSNorm(nn.Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimension; shape and dtype of `x`."""

    def __init__(self, width: int, eps: float, affine: bool = True) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.weight = nn.Parameter(torch.ones(width)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        if lean_pays(x):
            return rms_norm(x, self.weight, self.eps, compute_dtype(x))
        weight = None if self.weight is None else self.weight.to(x.dtype)
        return F.rms_norm(x, (self.width,), weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.width}, eps={self.eps}, affine={self.weight is not None}"


def make_norm(config: GPTConfig, width: int | None = None) -> nn.Module:
    """The norm that `config` asks for, over `width` (default: `n_embd`) columns."""
    width = config.n_embd if width is None else width
    if config.norm == "rmsnorm":
        return RMSNorm(width, config.norm_eps, config.norm_affine)
    affine = config.norm_affine
    return nn.LayerNorm(width, config.norm_eps, elementwise_affine=affine, bias=config.bias)
