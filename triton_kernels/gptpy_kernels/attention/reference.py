"""Attention written out in plain torch: what the kernels must compute, and what CPU tensors get.

Materialises the (B, H, T, S) scores in float32 (float64 for float64 inputs): slow, obvious.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import autocast
from .options import AttentionOptions, dropout_threshold

_MASK32 = 0xFFFFFFFF


def _philox_round_product(a: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a * x for 32-bit values held in int64, without overflow."""
    low = a * (x & 0xFFFF)
    high = a * (x >> 16) + (low >> 16)
    return (high >> 16) & _MASK32, ((high << 16) | (low & 0xFFFF)) & _MASK32


def philox_draw(seed: int, c0: Tensor, c1: Tensor, c2: Tensor, rounds: int = 7) -> Tensor:
    """First output word of Philox-4x32 (Salmon et al., SC 2011) for counters (c0, c1, c2, 0).

    Tensors are int64 holding 32-bit values and broadcast against each other; so is the result.
    """
    c3 = torch.zeros_like(c2)
    k0, k1 = seed & _MASK32, (seed >> 32) & _MASK32
    for _ in range(rounds):
        high_b, low_b = _philox_round_product(0xCD9E8D57, c2)
        high_a, low_a = _philox_round_product(0xD2511F53, c0)
        c0, c1, c2, c3 = high_b ^ c1 ^ k0, low_b, high_a ^ c3 ^ k1, low_a
        k0, k1 = (k0 + 0x9E3779B9) & _MASK32, (k1 + 0xBB67AE85) & _MASK32
    return c0


def dropout_kept(seed: int, dropout_p: float, B: int, H: int, T: int, S: int) -> Tensor:
    """(B, H, T, S) bool: the weights that survive dropout with this seed, on any device."""
    plane = torch.arange(B * H).view(B, H, 1, 1)
    query = torch.arange(T).view(T, 1)
    key = torch.arange(S).view(1, S)
    return philox_draw(seed, query, key, plane) >= dropout_threshold(dropout_p)


def _document(cu_seqlens: Tensor, B: int, L: int) -> Tensor:
    """The number of the document at every place, (B, L)."""
    places = torch.arange(B * L, device=cu_seqlens.device, dtype=cu_seqlens.dtype)
    return torch.bucketize(places, cu_seqlens[1:], right=True).view(B, L)


def _positions(T: int, S: int, options: AttentionOptions, device: torch.device) -> Tensor:
    """(T, 1): where every query stands among the keys; at the end of them, or of its document's."""
    position = torch.arange(T, device=device)
    if options.cu_seqlens is not None and options.cu_seqlens_k is not None:
        shift = options.cu_seqlens_k[1:].long() - options.cu_seqlens[1:].long()
        return (position + shift[_document(options.cu_seqlens, 1, T)[0]]).view(T, 1)
    return (position + (S - T)).view(T, 1)


def visible_keys(q: Tensor, k: Tensor, options: AttentionOptions) -> Tensor:
    """Bool, broadcastable to (B, 1, T, S): which keys each query may see."""
    B, T, S = q.shape[0], q.shape[1], k.shape[1]
    position = _positions(T, S, options, q.device)
    key = torch.arange(S, device=q.device).view(1, S)
    visible = torch.ones(1, 1, T, S, dtype=torch.bool, device=q.device)
    if options.keys_to_the_right is not None:
        visible = visible & (key <= position + options.keys_to_the_right)
    if options.window:
        visible = visible & (position - key < options.window)
    if options.cu_seqlens is not None:
        of_query = _document(options.cu_seqlens, B, T).view(B, 1, T, 1)
        cu_seqlens_k = options.cu_seqlens if options.cu_seqlens_k is None else options.cu_seqlens_k
        visible = visible & (of_query == _document(cu_seqlens_k, B, S).view(B, 1, 1, S))
    if options.key_padding_mask is not None:
        visible = visible & options.key_padding_mask.view(-1, 1, 1, S)
    return visible


def _working_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _heads_first(x: Tensor, heads: int) -> Tensor:
    """(B, L, H_kv, D) as (B, heads, L, D) in the working dtype, groups repeated."""
    x = x.to(_working_dtype(x)).transpose(1, 2)
    return x.repeat_interleave(heads // x.shape[1], dim=1)


def _scores(q: Tensor, k: Tensor, options: AttentionOptions) -> tuple[Tensor, Tensor]:
    """Masked scores (B, H, T, S), and their derivative with respect to the scaled product."""
    T, S = q.shape[1], k.shape[1]
    s = _heads_first(q, q.shape[2]) @ _heads_first(k, q.shape[2]).transpose(2, 3) * options.scale
    slope = torch.ones_like(s)
    if options.softcap:
        t = torch.tanh(s / options.softcap)
        s, slope = t * options.softcap, 1 - t * t
    if options.alibi_slopes is not None:
        position = _positions(T, S, options, q.device)
        distance = (position - torch.arange(S, device=q.device)).abs()
        s = s - options.alibi_slopes.to(s.dtype).view(-1, 1, 1) * distance
    return s.masked_fill(~visible_keys(q, k, options), float("-inf")), slope


def _kept_scale(q: Tensor, k: Tensor, options: AttentionOptions) -> Tensor | float:
    """What dropout multiplies every weight with: 0 or 1 / (1 - p)."""
    if not options.dropout_p:
        return 1.0
    assert options.seed is not None  # check_options
    B, T, H, _D = q.shape
    kept = dropout_kept(int(options.seed), options.dropout_p, B, H, T, k.shape[1])
    return kept.to(q.device, _working_dtype(q)) / (1 - options.dropout_p)


def attention_forward(
    q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, D) in q's dtype and log-sum-exp (B, H, T) in the working dtype.

    The log-sum-exp counts the sink. A row that sees no key gives zeros (and -inf without a sink).
    Source: Vaswani et al., arXiv:1706.03762.
    """
    with autocast.off(q):
        s, _ = _scores(q, k, options)
        if options.sinks is not None:
            sinks = options.sinks.to(s.dtype).view(1, -1, 1, 1).expand(*s.shape[:3], 1)
            lse = torch.logsumexp(torch.cat([s, sinks], dim=-1), dim=-1)
        elif s.shape[-1] == 0:
            lse = s.new_full(s.shape[:3], float("-inf"))
        else:
            lse = torch.logsumexp(s, dim=-1)
        p = torch.exp(s - lse.masked_fill(lse == float("-inf"), 0.0).unsqueeze(-1))
        out = (p * _kept_scale(q, k, options)) @ _heads_first(v, q.shape[2])
        return out.transpose(1, 2).to(q.dtype).contiguous(), lse


def attention_backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    options: AttentionOptions,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of q, k, v and the sinks (None without), from `attention_forward`'s outputs."""
    with autocast.off(q):
        return _attention_backward(grad_out, grad_lse, q, k, v, out, lse, options)


def _attention_backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    options: AttentionOptions,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    B, _T, H, D = q.shape
    s, slope = _scores(q, k, options)
    p = torch.exp(s - lse.masked_fill(lse == float("-inf"), 0.0).unsqueeze(-1))
    kept = _kept_scale(q, k, options)
    g = _heads_first(grad_out, H)
    delta = (g * _heads_first(out, H)).sum(-1)
    if grad_lse is not None:
        delta = delta - grad_lse
    dv = (p * kept).transpose(2, 3) @ g
    dp = (g @ _heads_first(v, H).transpose(2, 3)) * kept
    ds = p * (dp - delta.unsqueeze(-1)) * slope * options.scale
    dq = ds @ _heads_first(k, H)
    dk = ds.transpose(2, 3) @ _heads_first(q, H)
    grad_sinks = None
    if options.sinks is not None:
        p_sink = torch.exp(options.sinks.to(lse.dtype).view(1, H, 1) - lse)
        grad_sinks = -(p_sink * delta).sum((0, 2)).to(options.sinks.dtype)

    def gather(x: Tensor) -> Tensor:
        """(B, H, S, D) summed over each group of heads, as (B, S, H_kv, D)."""
        H_kv = k.shape[2]
        x = x.view(B, H_kv, H // H_kv, -1, D).sum(2)
        return x.transpose(1, 2).to(k.dtype).contiguous()

    return dq.transpose(1, 2).to(q.dtype).contiguous(), gather(dk), gather(dv), grad_sinks
