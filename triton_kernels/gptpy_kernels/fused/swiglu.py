"""Fused SwiGLU activation of a projection that holds gate and up side by side."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..availability import check_backend, choose_backend
from ..devices import on_device_of
from ..namespace import NAMESPACE, OPERATORS


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Gate and up of x (N, 2 C), in float32 (float64 for float64)."""
    gate, up = (x if x.dtype == torch.float64 else x.float()).chunk(2, -1)
    return gate, up


def swiglu_reference(x: Tensor) -> Tensor:
    """silu(gate) * up of x (N, 2 C), gate first: (N, C)."""
    gate, up = _halves(x)
    return (F.silu(gate) * up).to(x.dtype)


def swiglu_backward_reference(grad: Tensor, x: Tensor) -> Tensor:
    """Gradient of x (N, 2 C) for that of the product (N, C)."""
    gate, up = _halves(x)
    g = grad.to(gate.dtype)
    sigmoid = torch.sigmoid(gate)
    silu = gate * sigmoid
    return torch.cat([g * up * (sigmoid + silu * (1 - sigmoid)), g * silu], -1).to(x.dtype)


def block_of(C: int) -> int:
    """Columns that a program takes."""
    return min(1024, max(16, 1 << (C - 1).bit_length()))


def _rows(x: Tensor) -> Tensor:
    return x if x.stride(1) == 1 else x.contiguous()


@torch.library.custom_op(f"{NAMESPACE}::swiglu", mutates_args=())
def _forward(x: Tensor, backend: str) -> Tensor:
    if choose_backend(x, backend) != "triton":
        return swiglu_reference(x)
    from . import swiglu_kernel as kernels

    kernel: Any = kernels.swiglu_kernel
    x = _rows(x)
    N, C = x.shape[0], x.shape[1] // 2
    y = torch.empty(N, C, device=x.device, dtype=x.dtype)
    if y.numel():
        block = block_of(C)
        on_device_of(x, kernel)[(N, -(-C // block))](x, y, x.stride(0), C, BLOCK=block, num_warps=4)
    return y


@_forward.register_fake
def _(x: Tensor, *rest: Any) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1] // 2)


@torch.library.custom_op(f"{NAMESPACE}::swiglu_backward", mutates_args=())
def _backward(grad: Tensor, x: Tensor, backend: str) -> Tensor:
    if choose_backend(x, backend) != "triton":
        return swiglu_backward_reference(grad, x)
    from . import swiglu_kernel as kernels

    kernel: Any = kernels.swiglu_backward_kernel
    x = _rows(x)
    N, C = grad.shape
    # Both halves into one tensor: as two, autograd would have to join them in a pass of its own.
    grad_x = torch.empty(N, 2 * C, device=x.device, dtype=x.dtype)
    if grad.numel():
        block = block_of(C)
        on_device_of(x, kernel)[(N, -(-C // block))](
            grad.contiguous(), x, grad_x, x.stride(0), C, BLOCK=block, num_warps=4
        )
    return grad_x


@_backward.register_fake
def _(grad: Tensor, x: Tensor, *rest: Any) -> Tensor:
    return x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.backend = inputs
    ctx.save_for_backward(x)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return OPERATORS.swiglu_backward(grad, *ctx.saved_tensors, ctx.backend), None


_forward.register_autograd(_differentiate, setup_context=_save)


def swiglu(x: Tensor, *, backend: Literal["triton", "reference"] | None = None) -> Tensor:
    """silu(gate) * up of x (..., 2 C), gate in the first half of the columns: (..., C).

    Differentiable. Computed in float32, returned in x's dtype. Raises ValueError naming what was
    expected. Source: Shazeer, arXiv:2002.05202.
    """
    if not x.is_floating_point() or x.dim() < 1 or x.shape[-1] % 2:
        raise ValueError(
            "x: expected a floating tensor with an even number of columns, "
            f"got {tuple(x.shape)} {x.dtype}"
        )
    y = _forward(x.reshape(-1, x.shape[-1]), check_backend(backend))
    return y.view(*x.shape[:-1], x.shape[-1] // 2)
