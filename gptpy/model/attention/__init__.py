"""Attention behind one call, four back ends, chosen once a run.

`reference` is the formula in plain torch, `dense` keeps the matrix of weights and writes its own
gradient (the fastest on a CPU for short contexts), `sdpa` is `F.scaled_dot_product_attention`,
`triton` is `gptpy_kernels.causal_attention`. All take and return the layout `(B, T, H, D)`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gptpy.model.attention.choice import BACKENDS, choose_backend
from gptpy.model.attention.dense import dense
from gptpy.model.attention.masks import as_added, attention_bias, document_ids
from gptpy.model.attention.reference import reference

__all__ = [
    "BACKENDS",
    "as_added",
    "attention",
    "attention_bias",
    "choose_backend",
    "document_ids",
]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    alibi_slopes: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    dropout_p: float = 0.0,
    bias: Tensor | None = None,
    backend: str = "sdpa",
) -> Tensor:
    """`softmax(q k^T scale + bias) v`, per head; `(B, T, H, D)` out, dtype of `q`.

    `q: (B, T, H, D)`, `k, v: (B, S, H_kv, D)` with `H_kv` dividing `H`. With `S > T` the queries
    are the last `T` of the `S` positions. `window`: a query sees its own key and the `window - 1`
    before it (and, unless `causal`, as many behind). `alibi_slopes: (H,)`.
    `key_padding_mask: (B, S)` bool, True where a key is real.
    `cu_seqlens: (n + 1,)` offsets of documents in the flattened `(B * T)` tokens; a query sees
    keys of its own document only. `bias`: all of these masks at once, from `attention_bias`, so
    that a model of many layers builds it once (all but "triton").
    A query that sees no key gets zeros.
    """
    if backend == "triton":
        if bias is not None:
            raise ValueError(
                "attention back end 'triton' takes masks one by one (window, alibi_slopes, ...), "
                "got a bias: leave it out, or use 'sdpa' or 'reference'"
            )
        from gptpy_kernels import causal_attention

        return causal_attention(
            q,
            k,
            v,
            causal=causal,
            scale=scale,
            window=window,
            softcap=softcap,
            cu_seqlens=cu_seqlens,
            key_padding_mask=None if key_padding_mask is None else key_padding_mask.bool(),
            alibi_slopes=alibi_slopes,
            dropout_p=dropout_p,
            backend="triton",  # chosen and probed before: a CPU without an interpreter raises
        )
    if bias is None:
        simple = causal and q.shape[1] == k.shape[1]
        masked = (window, alibi_slopes, key_padding_mask, cu_seqlens) != (None,) * 4
        shifted = causal and not simple and q.shape[1] > 1
        if masked or shifted or backend in ("reference", "dense"):
            bias = attention_bias(
                q.shape[1],
                k.shape[1],
                batch=q.shape[0],
                causal=causal,
                window=window,
                alibi_slopes=alibi_slopes,
                key_padding_mask=key_padding_mask,
                cu_seqlens=cu_seqlens,
                device=q.device,
                dtype=q.dtype,
            )
    if backend == "reference":
        return reference(q, k, v, bias, scale, softcap, dropout_p)
    if backend == "dense":
        if softcap is not None:
            raise ValueError("attention back end 'dense' has no softcap: use 'reference'")
        return dense(q, k, v, bias, scale, dropout_p)
    if backend == "sdpa":
        if softcap is not None:
            raise ValueError(
                "attention back end 'sdpa' has no softcap: use 'reference' or 'triton'"
            )
        # torch wants (B, H, T, D); these are views, and its fused CPU and CUDA kernels take and
        # return the strides as they are, so that no tensor is copied.
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=bias,
            dropout_p=dropout_p,
            # bool: while exporting, sizes are symbols and so are their comparisons
            is_causal=causal and bias is None and bool(q.shape[1] == k.shape[1]),
            scale=scale,
            enable_gqa=q.shape[2] != k.shape[2],
        )
        return out.transpose(1, 2)
    raise ValueError(f"attention back end: expected one of {', '.join(BACKENDS)}, got {backend!r}")
