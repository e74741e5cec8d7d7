"""Fused rotary position embedding."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ..availability import check_backend, choose_backend
from ..devices import on_device_of
from ..namespace import NAMESPACE, OPERATORS


def rope_reference(x: Tensor, cos: Tensor, sin: Tensor, sign: float = 1.0) -> Tensor:
    """x (B, T, H, D) with its halves rotated by cos, sin (B or 1, T, D / 2), in float32."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    first, second = x.to(wide).chunk(2, -1)
    c, s = cos.to(wide).unsqueeze(2), sin.to(wide).unsqueeze(2) * sign
    return torch.cat([first * c - second * s, second * c + first * s], -1).to(x.dtype)


def blocks_of(H: int, D: int) -> dict[str, int]:
    """Heads and columns of half a head that a program takes at a time."""
    return {
        "BLOCK_H": min(16, 1 << (H - 1).bit_length()),
        "BLOCK_D": max(2, 1 << (D // 2 - 1).bit_length()),
    }


@torch.library.custom_op(f"{NAMESPACE}::rope", mutates_args=())
def _operator(x: Tensor, cos: Tensor, sin: Tensor, sign: float, backend: str) -> Tensor:
    if choose_backend(x, backend) != "triton":
        return rope_reference(x, cos, sin, sign).contiguous()
    from .rope_kernel import rope_kernel

    kernel: Any = rope_kernel
    B, T, H, D = x.shape
    y = torch.empty(B, T, H, D, device=x.device, dtype=x.dtype)
    cos, sin = cos.contiguous(), sin.contiguous()
    half = D // 2
    if y.numel():
        on_device_of(x, kernel)[(B * T,)](
            x, cos, sin, y, *x.stride(), 0 if cos.shape[0] == 1 else cos.stride(0),
            cos.stride(1), T, H, half, sign, **blocks_of(H, D), num_warps=4,
        )  # fmt: skip
    return y


@_operator.register_fake
def _(x: Tensor, *rest: Any) -> Tensor:
    return x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _x, cos, sin, ctx.sign, ctx.backend = inputs
    ctx.save_for_backward(cos, sin)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    cos, sin = ctx.saved_tensors
    # A rotation's gradient is the rotation back, so any number of derivatives exists.
    return OPERATORS.rope(grad, cos, sin, -ctx.sign, ctx.backend), None, None, None, None


_operator.register_autograd(_differentiate, setup_context=_save)


def apply_rope(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    backend: Literal["triton", "reference"] | None = None,
) -> Tensor:
    """x (B, T, H, D) rotated by cos, sin (T, D / 2) or (B, T, D / 2), differentiable in x.

    Column i pairs with column i + D / 2, as in GPT-NeoX and Llama. Computed in float32, returned
    in x's dtype. Raises ValueError naming what was expected. Source: arXiv:2104.09864.
    """
    if x.dim() != 4 or x.shape[-1] % 2 or not x.is_floating_point():
        raise ValueError(
            f"x: expected a floating (B, T, H, D) with even D, got {tuple(x.shape)} {x.dtype}"
        )
    B, T, _H, D = x.shape
    for name, table in (("cos", cos), ("sin", sin)):
        if tuple(table.shape) not in ((T, D // 2), (1, T, D // 2), (B, T, D // 2)):
            raise ValueError(
                f"{name}: expected ({T}, {D // 2}) or ({B}, {T}, {D // 2}), "
                f"got {tuple(table.shape)}"
            )
        if table.requires_grad:
            raise ValueError(f"{name}: expected a constant table, got one that requires grad")
    if cos.shape != sin.shape:
        raise ValueError(f"cos, sin: expected one shape, got {cos.shape} and {sin.shape}")
    cos, sin = cos.view(-1, T, D // 2), sin.view(-1, T, D // 2)
    return _operator(x, cos, sin, 1.0, check_backend(backend))
