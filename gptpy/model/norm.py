"""Normalisation layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.fast import compute_dtype, lean_pays, rms_norm


class RMSNorm(nn.Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimension; shape and dtype of `x`."""

    def __init__(self, width: int, eps: float, affine: bool = True) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.fusions: frozenset[str] = frozenset()

    def forward(self, x: Tensor) -> Tensor:
        if "rms_norm" in self.fusions:
            from gptpy_kernels import rms_norm as kernel

            dtype = compute_dtype(x)
            return kernel(x, self.weight, eps=self.eps, dtype=dtype, backend="triton")
        if lean_pays(x):
            return rms_norm(x, self.weight, self.eps, compute_dtype(x))
        weight = None if self.weight is None else self.weight.to(x.dtype)
        return F.rms_norm(x, (self.width,), weight, self.eps)

    def of_sum(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """`self(x + residual)` and `x + residual`, read and written once where that is fused."""
        if "rms_norm" in self.fusions:
            from gptpy_kernels import rms_norm as kernel

            dtype = compute_dtype(residual)
            return kernel(
                x, self.weight, residual=residual, eps=self.eps, dtype=dtype, backend="triton"
            )
        total = residual + x
        return self(total), total

    def extra_repr(self) -> str:
        return f"{self.width}, eps={self.eps}, affine={self.weight is not None}"


def norm_of_sum(norm: nn.Module, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """`norm(x + residual)` and the sum, the residual stream after what a layer adds to it."""
    if isinstance(norm, RMSNorm):
        return norm.of_sum(x, residual)
    total = residual + x
    return norm(total), total


def make_norm(config: GPTConfig, width: int | None = None) -> nn.Module:
    """The norm that `config` asks for, over `width` (default: `n_embd`) columns."""
    width = config.n_embd if width is None else width
    if config.norm == "rmsnorm":
        return RMSNorm(width, config.norm_eps, config.norm_affine)
    affine = config.norm_affine
    return nn.LayerNorm(width, config.norm_eps, elementwise_affine=affine, bias=config.bias)
