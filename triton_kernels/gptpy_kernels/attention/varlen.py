"""Attention over packed sequences with flash-attn's arguments."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from .. import autocast
from ..availability import check_backend
from .operators import attention_forward
from .options import AttentionOptions, check_options, check_qkv, seed_tensor


def varlen_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Tensor | None = None,
    *,
    sinks: Tensor | None = None,
    seed: int | Tensor | None = None,
    return_lse: bool = False,
    backend: Literal["triton", "reference"] | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of packed q (total_q, H, D) over packed k, v (total_k, H_kv, D): (total_q, H, D).

    cu_seqlens_q, cu_seqlens_k: (sequences + 1,) int32 or int64, where every sequence begins in q
    and in k; a query sees its own sequence. The last query of a sequence stands beside its last key
    (flash-attn's order since 2.1): with causal=True query i of T sees keys up to i + S - T.
    window_size: how many keys to the left and to the right of itself a query sees, -1 for all.
    softcap: 0 for none. sinks: (H,), a learned extra logit in the denominator. return_lse: also the
    log-sum-exp (H, total_q).

    The arguments of flash_attn_varlen_func in its order. The longest lengths are not needed and may
    be None. Gradients are the same bits on every run, so `deterministic` changes nothing. Raises
    TypeError or ValueError naming what was expected; ValueError for block_table (use
    attention_with_kv_cache) and return_attn_probs (use return_lse), which have no kernel.
    """
    if block_table is not None:
        raise ValueError("block_table: expected None, use attention_with_kv_cache for paged caches")
    if return_attn_probs:
        raise ValueError("return_attn_probs: the weights are never stored; use return_lse=True")
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor) or x.dim() != 3:
            found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"{name}: expected 3 dimensions (total, heads, head_dim), got {found}")
    left, right = window_size
    if left < -1 or right < -1:
        raise ValueError(f"window_size: expected two numbers of keys >= -1, got {window_size}")
    if alibi_slopes is not None and alibi_slopes.requires_grad:
        raise ValueError("alibi_slopes: expected constants, got a tensor that requires grad")
    q, k, v = (autocast.cast(x).unsqueeze(0) for x in (q, k, v))
    check_qkv(q, k, v)
    options = AttentionOptions(
        scale=q.shape[-1] ** -0.5 if softmax_scale is None else float(softmax_scale),
        causal=causal,
        window=left + 1,
        window_right=k.shape[1] if right < 0 else right,
        softcap=float(softcap or 0.0),
        dropout_p=float(dropout_p),
        cu_seqlens=cu_seqlens_q,
        cu_seqlens_k=cu_seqlens_k,
        alibi_slopes=alibi_slopes,
        sinks=sinks,
        seed=seed_tensor(seed, q.device) if dropout_p else None,
    )
    check_options(q, k, options)
    out, lse = attention_forward(
        q, k, v, *options[:10], check_backend(backend), options.cu_seqlens_k, options.window_right
    )
    return (out[0], lse[0]) if return_lse else out[0]
