"""Who sees whom, as one tensor."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def attention_bias(
    queries: int,
    keys: int,
    *,
    batch: int = 1,
    causal: bool = True,
    window: int | None = None,
    alibi_slopes: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor | None:
    """Every mask as one tensor that broadcasts to `(B, H, queries, keys)`, or None without any.

    Boolean (True: may look) without ALiBi, otherwise added to the scores, `-inf` where hidden.
    `window`: the nearest `window` keys, the query's own included; on both sides unless `causal`.
    """
    visible: Tensor | None = None
    distance: Tensor | None = None
    if causal or window is not None or alibi_slopes is not None:
        query_positions = torch.arange(keys - queries, keys, device=device)
        distance = query_positions[:, None] - torch.arange(keys, device=device)[None, :]
    if causal and distance is not None:
        visible = distance >= 0
    if window is not None and distance is not None:
        near = distance.abs() < window
        visible = near if visible is None else visible & near
    if cu_seqlens is not None:
        if queries != keys:
            raise ValueError(
                f"cu_seqlens needs as many queries as keys, got {queries} and {keys}: "
                "documents are for training, not for a cache"
            )
        documents = document_ids(cu_seqlens, batch, keys)
        same = (documents[:, :, None] == documents[:, None, :])[:, None]
        visible = same if visible is None else visible & same
    if key_padding_mask is not None:
        real = key_padding_mask.bool()[:, None, None, :]
        visible = real if visible is None else visible & real
    if alibi_slopes is None or distance is None:
        return visible
    bias = (-alibi_slopes[:, None, None].float() * distance.abs()).to(dtype)[None]
    return bias if visible is None else torch.where(visible, bias, -math.inf)


def as_added(bias: Tensor, dtype: torch.dtype) -> Tensor:
    """A boolean mask as numbers to add, 0 or `-inf`; one of numbers as it is, in `dtype`."""
    if bias.dtype != torch.bool:
        return bias.to(dtype)
    return torch.zeros_like(bias, dtype=dtype).masked_fill_(~bias, -math.inf)


def document_ids(cu_seqlens: Tensor, batch: int, length: int) -> Tensor:
    """Number of the document of every token, `(batch, length)`, from offsets `(n + 1,)`.

    Offsets count the flattened `(batch * length)` tokens; a row's end is always a document's end.
    """
    tokens = torch.arange(batch * length, device=cu_seqlens.device)
    found = torch.searchsorted(cu_seqlens.to(tokens.dtype), tokens, right=True)
    return found.view(batch, length)
