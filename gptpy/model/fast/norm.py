"""RMSNorm on a CPU: four passes over memory forward, six backward."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from gptpy.model.fast.conditions import compute_dtype, eager_on_cpu
from gptpy.model.transformer import RMSNorm


class CpuRMSNorm(RMSNorm):
    """The same in fewer passes, returned in the type of the next matrix product."""

    def forward(self, x: Tensor) -> Tensor:
        if eager_on_cpu(x):
            return rms_norm(x, self.weight, self.eps, compute_dtype(x))
        return super().forward(x)


def rms_norm(x: Tensor, weight: Tensor | None, eps: float, dtype: torch.dtype) -> Tensor:
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimension, computed in fp32, as `dtype`.

    With the type of the next matrix product for `dtype`, autocast needs no pass to convert.
    """
    out = _RMSNorm.apply(x, weight, eps, dtype)
    assert isinstance(out, Tensor)
    return out


def reciprocal_rms(x: Tensor, eps: float) -> Tensor:
    """`1 / sqrt(mean(x^2) + eps)` over the last dimension (kept, of size 1), in fp32."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().mul_(1 / x.shape[-1]).add_(eps).rsqrt_()


def sum_of_rows(x: Tensor) -> Tensor:
    """`x: (..., n)` summed to `(n,)`, as a product with ones: much faster than torch's `sum`."""
    rows = x.reshape(-1, x.shape[-1])
    return torch.mv(rows.T, rows.new_ones(rows.shape[0]))


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor | None, eps: float, dtype: torch.dtype
    ) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = reciprocal_rms(wide, eps)
        ctx.save_for_backward(x, scale, *(() if weight is None else (weight,)))
        out = wide * scale
        if weight is not None:
            out.mul_(weight)
        return out.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor):  # type: ignore[override]
        x, scale, *weights = ctx.saved_tensors  # type: ignore[attr-defined]
        normal = x * scale
        grad = grad.to(normal.dtype)
        product = grad * normal
        grad_weight = None
        if weights:
            weight = weights[0].to(normal.dtype)
            grad_weight = sum_of_rows(product).to(weights[0].dtype)
            along = torch.matmul(product, weight)[..., None]
            grad = grad * weight
        else:
            along = product.sum(-1, keepdim=True)
        along.mul_(-1 / x.shape[-1])
        # dx = (g - normal mean(g normal)) / rms: the part along x does not change the output.
        grad_x = torch.addcmul(grad, normal, along).mul_(scale)
        return grad_x.to(x.dtype), grad_weight, None, None
