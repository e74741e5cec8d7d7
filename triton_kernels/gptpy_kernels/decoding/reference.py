"""Attention over a key-value cache in plain torch: gathers every sequence's keys, then attends."""

from __future__ import annotations

import torch
from torch import Tensor

from ..attention.options import AttentionOptions
from ..attention.reference import attention_forward


def gather_cache(cache: Tensor, block_table: Tensor | None, batch: int, length: int) -> Tensor:
    """The first `length` rows (length, H_kv, D) that a sequence holds in a (paged) cache."""
    if block_table is None:
        return cache[batch, :length]
    page_size = cache.shape[1]
    pages = block_table[batch, : -(-length // page_size)].long()
    return cache[pages].flatten(0, 1)[:length]


def attention_with_kv_cache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    cache_lengths: Tensor,
    block_table: Tensor | None,
    options: AttentionOptions,
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, D) and log-sum-exp (B, H, T), sequence by sequence."""
    outs, sums = [], []
    for b, length in enumerate(cache_lengths.tolist()):
        k = gather_cache(k_cache, block_table, b, length).unsqueeze(0)
        v = gather_cache(v_cache, block_table, b, length).unsqueeze(0)
        out, lse = attention_forward(q[b : b + 1], k, v, options)
        outs.append(out)
        sums.append(lse)
    return torch.cat(outs), torch.cat(sums)
