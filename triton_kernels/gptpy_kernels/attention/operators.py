"""The attention operators that torch sees: one forward, one backward, opaque to its compilers.

Registered for every device: `availability.choose_backend` sends a call to the kernels or to the
reference; so eager, torch.compile, export, activation checkpointing and fake tensors all meet the
same operator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from ..availability import choose_backend
from ..namespace import NAMESPACE, OPERATORS
from . import launch, reference
from .options import AttentionOptions, check_cu_seqlens

# The flat tail of both operators' schemas, in AttentionOptions' order.
_OPTION_NAMES = AttentionOptions._fields


def _value_checks(q: Tensor, k: Tensor, options: AttentionOptions) -> None:
    if options.cu_seqlens is not None:
        check_cu_seqlens(options.cu_seqlens, q.shape[0] * q.shape[1])
    if options.cu_seqlens_k is not None:
        check_cu_seqlens(options.cu_seqlens_k, k.shape[0] * k.shape[1], "cu_seqlens_k", "keys")


@torch.library.custom_op(f"{NAMESPACE}::attention_forward", mutates_args=())
def attention_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    causal: bool,
    window: int,
    softcap: float,
    dropout_p: float,
    cu_seqlens: Tensor | None,
    key_padding_mask: Tensor | None,
    alibi_slopes: Tensor | None,
    sinks: Tensor | None,
    seed: Tensor | None,
    backend: str,
    cu_seqlens_k: Tensor | None = None,
    window_right: int = -1,
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, D) and log-sum-exp (B, H, T); see `causal_attention` for the arguments."""
    options = AttentionOptions(
        scale, causal, window, softcap, dropout_p, cu_seqlens, key_padding_mask, alibi_slopes,
        sinks, seed, cu_seqlens_k, window_right,
    )  # fmt: skip
    _value_checks(q, k, options)
    if choose_backend(q, backend) == "triton":
        return launch.attention_forward(q, k, v, options)
    return reference.attention_forward(q, k, v, options)


@attention_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    B, T, H, _D = q.shape
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    return q.new_empty(q.shape), q.new_empty((B, H, T), dtype=dtype)


@torch.library.custom_op(f"{NAMESPACE}::attention_backward", mutates_args=())
def attention_backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    scale: float,
    causal: bool,
    window: int,
    softcap: float,
    dropout_p: float,
    cu_seqlens: Tensor | None,
    key_padding_mask: Tensor | None,
    alibi_slopes: Tensor | None,
    sinks: Tensor | None,
    seed: Tensor | None,
    backend: str,
    cu_seqlens_k: Tensor | None = None,
    window_right: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v and the sinks (an empty tensor without)."""
    options = AttentionOptions(
        scale, causal, window, softcap, dropout_p, cu_seqlens, key_padding_mask, alibi_slopes,
        sinks, seed, cu_seqlens_k, window_right,
    )  # fmt: skip
    module = launch if choose_backend(q, backend) == "triton" else reference
    dq, dk, dv, grad_sinks = module.attention_backward(
        grad_out, grad_lse, q, k, v, out, lse, options
    )
    return dq, dk, dv, q.new_empty(0) if grad_sinks is None else grad_sinks


@attention_backward.register_fake
def _(
    grad_out: Tensor, grad_lse: Tensor | None, q: Tensor, k: Tensor, v: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sinks = rest[2 + _OPTION_NAMES.index("sinks")]
    return (
        q.new_empty(q.shape),
        k.new_empty(k.shape),
        v.new_empty(v.shape),
        q.new_empty(0) if sinks is None else torch.empty_like(sinks),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, *numbers = inputs[:8]
    *tensors, ctx.backend, cu_seqlens_k, ctx.window_right = inputs[8:]
    out, lse = output
    ctx.save_for_backward(q, k, v, out, lse, cu_seqlens_k, *tensors)
    ctx.numbers = numbers
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad_out: Tensor | None, grad_lse: Tensor | None) -> tuple[Any, ...]:
    q, k, v, out, lse, cu_seqlens_k, *tensors = ctx.saved_tensors
    if grad_out is None:
        grad_out = torch.zeros_like(out)
    dq, dk, dv, grad_sinks = OPERATORS.attention_backward(
        grad_out, grad_lse, q, k, v, out, lse, *ctx.numbers, *tensors, ctx.backend, cu_seqlens_k,
        ctx.window_right,
    )  # fmt: skip
    sinks = tensors[3]
    return (dq, dk, dv, *[None] * 8, None if sinks is None else grad_sinks, *[None] * 4)


attention_forward.register_autograd(_differentiate, setup_context=_save)


def _no_double_backward(ctx: Any, *grads: Any) -> Any:
    raise RuntimeError(
        "fused attention: expected at most one differentiation, got a second (double backward); "
        "use gptpy_kernels.attention_reference for gradients of gradients"
    )


attention_backward.register_autograd(_no_double_backward)


def _products(q_shape: Any, k_shape: Any, count: int) -> int:
    """Floating-point operations of `count` (T, S, D) matrix products a head.

    The whole square is counted, also under a mask, as torch counts its own attention: so that
    numbers of different back ends compare.
    """
    B, T, H, D = q_shape
    return count * 2 * B * H * T * k_shape[1] * D


@register_flop_formula(OPERATORS.attention_forward)
def _(q_shape: Any, k_shape: Any, v_shape: Any, *rest: Any, **_kwargs: Any) -> int:
    return _products(q_shape, k_shape, 2)


@register_flop_formula(OPERATORS.attention_backward)
def _(
    grad_shape: Any,
    lse_shape: Any,
    q_shape: Any,
    k_shape: Any,
    v_shape: Any,
    *rest: Any,
    **_kw: Any,
) -> int:
    return _products(q_shape, k_shape, 5)
