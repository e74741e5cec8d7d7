"""Fused attention: the public call. Checks, defaults and autocast here; the work in `operators`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict, overload

from torch import Tensor

from .. import autocast
from ..availability import check_backend
from .operators import attention_forward
from .options import AttentionOptions, check_options, check_qkv, seed_tensor
from .varlen import varlen_attention

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["AttentionOptions", "attention_reference", "causal_attention", "varlen_attention"]

Backend = Literal["triton", "reference"]


class Arguments(TypedDict, total=False):
    """The keywords of `causal_attention` that say what is computed; their meaning stands there."""

    causal: bool
    scale: float | None
    window: int | None
    softcap: float | None
    cu_seqlens: Tensor | None
    key_padding_mask: Tensor | None
    alibi_slopes: Tensor | None
    sinks: Tensor | None
    dropout_p: float
    seed: int | Tensor | None


def _prepare(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = True,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    cu_seqlens: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    alibi_slopes: Tensor | None = None,
    sinks: Tensor | None = None,
    dropout_p: float = 0.0,
    seed: int | Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, AttentionOptions]:
    """Inputs in autocast's dtype and the options, checked."""
    q, k, v = (autocast.cast(x) for x in (q, k, v))
    check_qkv(q, k, v)
    if window is not None and window < 1:
        raise ValueError(f"window: expected a number of keys >= 1 or None, got {window}")
    if softcap is not None and not softcap > 0:
        raise ValueError(f"softcap: expected a positive finite number or None, got {softcap}")
    if alibi_slopes is not None and alibi_slopes.requires_grad:
        raise ValueError(
            "alibi_slopes: expected constants, got a tensor that requires grad; detach it"
        )
    options = AttentionOptions(
        scale=q.shape[-1] ** -0.5 if scale is None else float(scale),
        causal=causal,
        window=window or 0,
        softcap=float(softcap or 0.0),
        dropout_p=float(dropout_p),
        cu_seqlens=cu_seqlens,
        key_padding_mask=key_padding_mask,
        alibi_slopes=alibi_slopes,
        sinks=sinks,
        seed=seed_tensor(seed, q.device) if dropout_p else None,
    )
    check_options(q, k, options)
    return q, k, v, options


@overload
def causal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    return_lse: Literal[False] = ...,
    backend: Backend | None = ...,
    **arguments: Unpack[Arguments],
) -> Tensor: ...


@overload
def causal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    return_lse: Literal[True],
    backend: Backend | None = ...,
    **arguments: Unpack[Arguments],
) -> tuple[Tensor, Tensor]: ...


def causal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    cu_seqlens: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    alibi_slopes: Tensor | None = None,
    sinks: Tensor | None = None,
    dropout_p: float = 0.0,
    seed: int | Tensor | None = None,
    return_lse: bool = False,
    backend: Backend | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of q (B, T, H, D) over k, v (B, S, H_kv, D): (B, T, H, D), differentiable.

    float32, float16 or bfloat16, 16 <= D <= 256, H a multiple of H_kv, any strides, no copies.
    Query i stands at position S - T + i: with S > T the first keys are a cached prefix. A row that
    sees no key gives zeros.

    causal: False lets every query see every key. scale: default D**-0.5. window: see the nearest
    `window` keys only (itself included). softcap: scores become softcap * tanh(score / softcap).
    cu_seqlens: (documents + 1,) integers from 0 to B * T, where packed documents begin in the
    flattened rows; needs T = S, and a document ends where its row does.
    key_padding_mask: (B, S) bool, True where a key may be seen. alibi_slopes: (H,), minus
    slope * distance is added to the scores. sinks: (H,), a learned extra logit in the denominator.
    dropout_p with seed: drops weights; the same seed drops the same ones, on every device.
    return_lse: also return the log-sum-exp of the scores (B, H, T), differentiable too.
    backend: "triton" or "reference"; by default the kernels on NVIDIA GPUs, else the reference.

    Raises TypeError or ValueError naming what was expected, before anything is launched, and
    RuntimeError when backend="triton" cannot run here. Sources: arXiv:2307.08691 (the algorithm),
    2305.13245 (GQA), 2108.12409 (ALiBi), 2309.17453 (sinks), 2408.00118 (soft cap).
    """
    q, k, v, options = _prepare(
        q, k, v, causal, scale, window, softcap, cu_seqlens, key_padding_mask, alibi_slopes,
        sinks, dropout_p, seed,
    )  # fmt: skip
    out, lse = attention_forward(q, k, v, *options[:10], check_backend(backend))
    return (out, lse) if return_lse else out


def attention_reference(
    q: Tensor, k: Tensor, v: Tensor, *, return_lse: bool = False, **arguments: Unpack[Arguments]
) -> Tensor | tuple[Tensor, Tensor]:
    """`causal_attention` in plain torch, without the operator: differentiable any number of times.

    Same arguments and errors; also takes float64. Materialises all scores.
    """
    from .options import check_cu_seqlens
    from .reference import attention_forward as plain_forward

    q, k, v, options = _prepare(q, k, v, **arguments)
    if options.cu_seqlens is not None:
        check_cu_seqlens(options.cu_seqlens, q.shape[0] * q.shape[1])
    out, lse = plain_forward(q, k, v, options)
    return (out, lse) if return_lse else out
