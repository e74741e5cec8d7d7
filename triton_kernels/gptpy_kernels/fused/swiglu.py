"""Fused SwiGLU activation."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..availability import check_backend, choose_backend


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def swiglu_reference(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, in float32."""
    return (F.silu(_wide(gate)) * _wide(up)).to(gate.dtype)


def swiglu_backward_reference(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of gate and up."""
    g, x = _wide(grad), _wide(gate)
    sigmoid = torch.sigmoid(x)
    silu = x * sigmoid
    d_gate = g * _wide(up) * (sigmoid + silu * (1 - sigmoid))
    return d_gate.to(gate.dtype), (g * silu).to(gate.dtype)


def _rows(x: Tensor) -> Tensor:
    return x if x.stride(1) == 1 else x.contiguous()


def _grid(x: Tensor) -> tuple[tuple[int, int], int]:
    block = min(1024, max(16, 1 << (x.shape[1] - 1).bit_length()))
    return (x.shape[0], -(-x.shape[1] // block)), block


@torch.library.custom_op("gptpy::swiglu", mutates_args=())
def _forward(gate: Tensor, up: Tensor, backend: str) -> Tensor:
    if choose_backend(gate, backend) != "triton":
        return swiglu_reference(gate, up).contiguous()
    from . import swiglu_kernel as kernels

    kernel: Any = kernels.swiglu_kernel
    gate, up = _rows(gate), _rows(up)
    y = torch.empty(gate.shape, device=gate.device, dtype=gate.dtype)
    if y.numel():
        grid, block = _grid(gate)
        kernel[grid](gate, up, y, gate.stride(0), up.stride(0), gate.shape[1], BLOCK=block)
    return y


@_forward.register_fake
def _(gate: Tensor, *rest: Any) -> Tensor:
    return gate.new_empty(gate.shape)


@torch.library.custom_op("gptpy::swiglu_backward", mutates_args=())
def _backward(grad: Tensor, gate: Tensor, up: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    if choose_backend(gate, backend) != "triton":
        d_gate, d_up = swiglu_backward_reference(grad, gate, up)
        return d_gate.contiguous(), d_up.contiguous()
    from . import swiglu_kernel as kernels

    kernel: Any = kernels.swiglu_backward_kernel
    gate, up = _rows(gate), _rows(up)
    d_gate = torch.empty(gate.shape, device=gate.device, dtype=gate.dtype)
    d_up = torch.empty_like(d_gate)
    if d_gate.numel():
        grid, block = _grid(gate)
        kernel[grid](
            grad.contiguous(), gate, up, d_gate, d_up, gate.stride(0), up.stride(0),
            gate.shape[1], BLOCK=block,
        )  # fmt: skip
    return d_gate, d_up


@_backward.register_fake
def _(grad: Tensor, gate: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), gate.new_empty(gate.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gate, up, ctx.backend = inputs
    ctx.save_for_backward(gate, up)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return (*torch.ops.gptpy.swiglu_backward(grad, *ctx.saved_tensors, ctx.backend), None)


_forward.register_autograd(_differentiate, setup_context=_save)


def swiglu(
    gate: Tensor, up: Tensor, *, backend: Literal["triton", "reference"] | None = None
) -> Tensor:
    """silu(gate) * up for gate, up (..., C) of one shape and dtype, differentiable.

    Rows may be strided, such as the halves of one projection. Computed in float32, returned in
    their dtype. Raises ValueError naming what was expected. Source: Shazeer, arXiv:2002.05202.
    """
    if gate.shape != up.shape or gate.dtype != up.dtype or not gate.is_floating_point():
        raise ValueError(
            "gate, up: expected one shape and one floating dtype, "
            f"got {tuple(gate.shape)} {gate.dtype} and {tuple(up.shape)} {up.dtype}"
        )
    C = gate.shape[-1]
    y = _forward(gate.reshape(-1, C), up.reshape(-1, C), check_backend(backend))
    return y.view(gate.shape)
