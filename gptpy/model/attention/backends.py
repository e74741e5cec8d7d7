"""The table of attention back ends: functions with one signature that compute one formula.

A run chooses one (`choice.py`); a network keeps it in `attend` and calls it in every layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from gptpy.model.attention.dense import dense
from gptpy.model.attention.reference import Masks, reference


def sdpa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    masks: Masks,
    window: int | None = None,
    softcap: float | None = None,
    dropout_p: float = 0.0,
) -> Tensor:
    """torch's `scaled_dot_product_attention`, which picks a fused kernel where there is one.

    Arguments as `reference`; `ValueError` with a softcap.
    """
    if softcap is not None:
        raise ValueError("attention back end 'sdpa' has no softcap: use 'reference' or 'triton'")
    T, S = q.shape[1], k.shape[1]
    others = (masks.alibi_slopes, masks.key_padding_mask, masks.cu_seqlens)
    unmasked = others == (None,) * 3 and (window is None or window >= S)
    if unmasked and not (masks.causal and T not in (S, 1)):
        mask = None  # is_causal says it, or a single query sees every key
    else:
        mask = masks.combined(q, k, window)
    # torch wants (B, H, T, D). Its fused kernels take and return any strides: these are views.
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        dropout_p=dropout_p,
        # bool: while exporting, sizes are symbols and so are their comparisons
        is_causal=masks.causal and mask is None and bool(T == S),
        enable_gqa=q.shape[2] != k.shape[2],
    )
    return out.transpose(1, 2)


def triton(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    masks: Masks,
    window: int | None = None,
    softcap: float | None = None,
    dropout_p: float = 0.0,
) -> Tensor:
    """`gptpy_kernels.causal_attention`, which never builds a mask. Arguments as `reference`."""
    from gptpy_kernels import causal_attention

    padding = masks.key_padding_mask
    return causal_attention(
        q,
        k,
        v,
        causal=masks.causal,
        window=window,
        softcap=softcap,
        cu_seqlens=masks.cu_seqlens,
        key_padding_mask=None if padding is None else padding.bool(),
        alibi_slopes=masks.alibi_slopes,
        dropout_p=dropout_p,
        backend="triton",  # an error, not a silent reference, where kernels cannot run
    )


class Backend(NamedTuple):
    attend: Callable[..., Tensor]
    unsupported: frozenset[str]
    """What it cannot do, of `preferences.FEATURES`."""


BACKENDS = {
    "reference": Backend(reference, frozenset()),
    "dense": Backend(dense, frozenset({"softcap"})),
    "sdpa": Backend(sdpa, frozenset({"softcap"})),
    "triton": Backend(triton, frozenset()),
}
