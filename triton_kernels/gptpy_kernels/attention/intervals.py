"""Packed documents as intervals: the keys that every query sees, the queries that see every key.

Documents are pieces of the flattened rows of q, and of k where it has lengths of its own. The last
query of a document stands beside the document's last key. Computed on the device, without a wait.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .options import AttentionOptions


class Intervals(NamedTuple):
    """[low, high) in int32; both ends never fall along a row.

    of_queries: (low, high), both (B, T), keys. of_keys: (low, high), both (B, S), queries.
    shift: (B, T), the position of a query among the keys minus its own.
    """

    of_queries: tuple[Tensor, Tensor]
    of_keys: tuple[Tensor, Tensor]
    shift: Tensor


def _documents(cu_seqlens: Tensor, B: int, L: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of every place: its document's number, start and stop, each (B, L).

    A document that crosses the end of a row is cut there, and stops there.
    """
    places = torch.arange(B * L, device=cu_seqlens.device, dtype=cu_seqlens.dtype)
    document = torch.bucketize(places, cu_seqlens[1:], right=True)
    document = document.clamp(max=cu_seqlens.shape[0] - 2)  # wrong values must not read elsewhere
    row = places // max(L, 1) * L
    start = (cu_seqlens[:-1][document] - row).clamp(min=0, max=L)
    stop = (cu_seqlens[1:][document] - row).clamp(min=0, max=L)
    return document.view(B, L), start.view(B, L), stop.view(B, L)


def intervals(options: AttentionOptions, B: int, T: int, S: int) -> Intervals:
    """The intervals of a call with `cu_seqlens`, causal order and window taken in."""
    cu_q, cu_k = options.cu_seqlens, options.cu_seqlens_k
    assert cu_q is not None
    document, start, stop = _documents(cu_q, B, T)
    q_start, q_stop, k_start, k_stop = start, stop, start, stop
    shift = torch.zeros_like(start)
    key_shift = shift
    if cu_k is not None:  # one row: places are offsets
        key_document, _, _ = _documents(cu_k, B, S)
        shift_of_document = cu_k[1:].to(cu_q.dtype) - cu_q[1:]
        shift, key_shift = shift_of_document[document], shift_of_document[key_document]
        k_start, k_stop = cu_k[:-1][document], cu_k[1:][document]
        q_start, q_stop = cu_q[:-1][key_document], cu_q[1:][key_document]
    position = torch.arange(T, device=cu_q.device) + shift
    diagonal = torch.arange(S, device=cu_q.device) - key_shift
    low, high, first, last = k_start, k_stop, q_start, q_stop
    right = options.keys_to_the_right
    if right is not None:
        high = torch.minimum(high, position + right + 1)
        first = torch.maximum(first, diagonal - right)
    if options.window:
        low = torch.maximum(low, position - options.window + 1)
        last = torch.minimum(last, diagonal + options.window)
    high, last = torch.maximum(high, low), torch.maximum(last, first)

    def narrow(x: Tensor) -> Tensor:
        return x.to(torch.int32).contiguous()

    return Intervals((narrow(low), narrow(high)), (narrow(first), narrow(last)), narrow(shift))
