"""Fused RMSNorm, with or without a residual add and a weight."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from torch import Tensor

from ..availability import check_backend, choose_backend
from ..devices import on_device_of
from ..namespace import NAMESPACE, OPERATORS

MAX_COLUMNS = 8192  # a program holds a row; longer ones would spill
PROGRAMS = 256  # of the backward pass: rows of partial weight gradients


def rms_norm_reference(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, x + residual, 1 / rms) of x (N, C), computed in float32 (float64 for float64).

    y has `dtype`, the sum the residual's. Without a residual the sum is an empty tensor.
    """
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    h = x.to(wide)
    total = x.new_empty(0)
    if residual is not None:
        total = (h + residual.to(wide)).to(residual.dtype)
        h = total.to(wide)
    rstd = torch.rsqrt(h.square().mean(-1) + eps)
    y = h * rstd.unsqueeze(-1)
    if weight is not None:
        y = y * weight.to(wide)
    return y.to(dtype), total, rstd


def rms_norm_backward_reference(
    grad_y: Tensor, grad_sum: Tensor | None, h: Tensor, weight: Tensor | None, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of h (N, C) and of the weight (an empty tensor without)."""
    wide = torch.float64 if h.dtype == torch.float64 else torch.float32
    unit = h.to(wide) * rstd.unsqueeze(-1)
    g = grad_y.to(wide)
    grad_weight = h.new_empty(0)
    if weight is not None:
        grad_weight = (g * unit).sum(0).to(weight.dtype)
        g = g * weight.to(wide)
    d = (g - unit * (g * unit).mean(-1, keepdim=True)) * rstd.unsqueeze(-1)
    if grad_sum is not None:
        d = d + grad_sum
    return d.to(h.dtype), grad_weight


def block_of(C: int) -> int:
    """Columns of a program, which holds a whole row."""
    return max(16, 1 << (C - 1).bit_length())


def warps_of(C: int) -> int:
    """Warps that hold a row without spilling."""
    return 4 if C <= 512 else 8


def _unit_columns(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


@torch.library.custom_op(f"{NAMESPACE}::rms_norm", mutates_args=())
def _forward(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    eps: float,
    dtype: torch.dtype,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    if choose_backend(x, backend) != "triton":
        return rms_norm_reference(x, residual, weight, eps, dtype)
    from . import rms_norm_kernel as kernels

    kernel: Any = kernels.rms_norm_kernel
    x = _unit_columns(x)
    residual = None if residual is None else _unit_columns(residual)
    weight = None if weight is None else weight.contiguous()
    N, C = x.shape
    y = torch.empty(N, C, device=x.device, dtype=dtype)
    total = x.new_empty(0) if residual is None else residual.new_empty(N, C)
    rstd = torch.empty(N, device=x.device, dtype=torch.float32)
    if N:
        on_device_of(x, kernel)[(N,)](
            x, residual, weight, y, total, rstd, x.stride(0),
            0 if residual is None else residual.stride(0), C, eps,
            BLOCK=block_of(C), HAS_RESIDUAL=residual is not None,
            HAS_WEIGHT=weight is not None, num_warps=warps_of(C),
        )  # fmt: skip
    return y, total, rstd


@_forward.register_fake
def _(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    eps: float,
    dtype: torch.dtype,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    total = x.new_empty(0) if residual is None else residual.new_empty(x.shape)
    return x.new_empty(x.shape, dtype=dtype), total, x.new_empty(x.shape[:1], dtype=wide)


@torch.library.custom_op(f"{NAMESPACE}::rms_norm_backward", mutates_args=())
def _backward(
    grad_y: Tensor,
    grad_sum: Tensor | None,
    h: Tensor,
    weight: Tensor | None,
    rstd: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor]:
    if choose_backend(h, backend) != "triton":
        return rms_norm_backward_reference(grad_y, grad_sum, h, weight, rstd)
    from . import rms_norm_kernel as kernels

    kernel: Any = kernels.rms_norm_backward_kernel
    h = _unit_columns(h)
    weight = None if weight is None else weight.contiguous()
    N, C = h.shape
    grad_x = torch.empty(N, C, device=h.device, dtype=h.dtype)
    programs = min(PROGRAMS, max(1, N))
    partial = None
    if weight is not None:
        partial = torch.zeros(programs, C, device=h.device, dtype=torch.float32)
    if N:
        on_device_of(h, kernel)[(programs,)](
            grad_y.contiguous(), None if grad_sum is None else grad_sum.contiguous(), h, weight,
            rstd, grad_x, partial, h.stride(0), N, C, BLOCK=block_of(C),
            HAS_GRAD_SUM=grad_sum is not None, HAS_WEIGHT=weight is not None,
            num_warps=warps_of(C),
        )  # fmt: skip
    if partial is None or weight is None:
        return grad_x, h.new_empty(0)
    return grad_x, partial.sum(0).to(weight.dtype)


@_backward.register_fake
def _(
    grad_y: Tensor, grad_sum: Tensor | None, h: Tensor, weight: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor]:
    grad_weight = h.new_empty(0) if weight is None else torch.empty_like(weight)
    return h.new_empty(h.shape), grad_weight


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, residual, weight, _eps, _dtype, ctx.backend = inputs
    y, total, rstd = output
    ctx.x_dtype, ctx.y_dtype = x.dtype, y.dtype
    ctx.save_for_backward(x if residual is None else total, weight, rstd)
    ctx.has_residual = residual is not None
    ctx.mark_non_differentiable(rstd)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad_y: Tensor | None, grad_sum: Tensor | None, _: Any) -> Any:
    h, weight, rstd = ctx.saved_tensors
    if grad_y is None:
        grad_y = torch.zeros_like(h, dtype=ctx.y_dtype)
    if not ctx.has_residual:
        grad_sum = None
    grad_h, grad_weight = OPERATORS.rms_norm_backward(
        grad_y, grad_sum, h, weight, rstd, ctx.backend
    )
    grad_x = grad_h.to(ctx.x_dtype)
    grad_residual = None
    if ctx.has_residual:  # the same numbers, but never the same tensor
        grad_residual = grad_h.clone() if grad_x is grad_h else grad_h
    return grad_x, grad_residual, None if weight is None else grad_weight, None, None, None


_forward.register_autograd(_differentiate, setup_context=_save)


@overload
def rms_norm(
    x: Tensor,
    weight: Tensor | None = ...,
    *,
    residual: None = ...,
    eps: float = ...,
    dtype: torch.dtype | None = ...,
    backend: Literal["triton", "reference"] | None = ...,
) -> Tensor: ...


@overload
def rms_norm(
    x: Tensor,
    weight: Tensor | None = ...,
    *,
    residual: Tensor,
    eps: float = ...,
    dtype: torch.dtype | None = ...,
    backend: Literal["triton", "reference"] | None = ...,
) -> tuple[Tensor, Tensor]: ...


def rms_norm(
    x: Tensor,
    weight: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    eps: float = 1e-6,
    dtype: torch.dtype | None = None,
    backend: Literal["triton", "reference"] | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """h / sqrt(mean(h**2) + eps) * weight over the last dimension of x (..., C), differentiable.

    With a residual of x's shape h = x + residual, and (normed, h) is returned, h in the residual's
    dtype; else h = x. Computed in float32, normed returned in `dtype` (default: x's).
    Raises TypeError or ValueError naming what was expected.
    Source: Zhang & Sennrich, arXiv:1910.07467.
    """
    C = x.shape[-1]
    if not x.is_floating_point():
        raise TypeError(f"x: expected a floating dtype, got {x.dtype}")
    if not 1 <= C <= MAX_COLUMNS:
        raise ValueError(f"x: expected 1 to {MAX_COLUMNS} columns, got {C}")
    if weight is not None and weight.shape != (C,):
        raise ValueError(f"weight: expected ({C},), got {tuple(weight.shape)}")
    if residual is not None and (residual.shape != x.shape or not residual.is_floating_point()):
        raise ValueError(
            f"residual: expected a floating {tuple(x.shape)} as x, "
            f"got {tuple(residual.shape)} {residual.dtype}"
        )
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"dtype: expected a floating dtype, got {dtype}")
    flat = None if residual is None else residual.reshape(-1, C)
    kind = x.dtype if dtype is None else dtype
    y, total, _ = _forward(x.reshape(-1, C), flat, weight, eps, kind, check_backend(backend))
    y = y.view(x.shape)
    return y if residual is None else (y, total.view(x.shape))
