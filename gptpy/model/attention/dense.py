"""Attention that keeps the whole `(T, S)` matrix of weights, with a gradient written by hand.

torch's fused CPU kernel recomputes the weights in its backward pass. That saves memory which a
context of a few hundred tokens does not need, and costs several times the batched products here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from gptpy.model.attention.reference import Masks


def dense(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    masks: Masks,
    window: int | None = None,
    softcap: float | None = None,
    dropout_p: float = 0.0,
) -> Tensor:
    """Arguments and result as `reference`, in the type of `q`; `ValueError` with a softcap."""
    if softcap is not None:
        raise ValueError("attention back end 'dense' has no softcap: use 'reference'")
    out = _Dense.apply(q, k, v, masks.combined(q, k, window, added=True), dropout_p)
    assert isinstance(out, Tensor)
    return out


ROWS = 128
"""Queries in a block of rows: of a causal block the keys after its last query are skipped."""
FROM = 256
"""Shortest context that is worth blocks."""


def row_blocks(T: int, S: int, causal: bool) -> list[tuple[int, int, int]]:
    """(first row, last row + 1, keys) of every block of queries; `causal`: and nothing else."""
    if not causal or T != S or T < FROM:
        return [(0, T, S)]
    return [(first, min(first + ROWS, T), min(first + ROWS, T)) for first in range(0, T, ROWS)]


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        dropout_p: float,
    ) -> Tensor:
        B, T, H, D = q.shape
        S, H_kv = k.shape[1], k.shape[2]
        scale = 1 / math.sqrt(D)
        # Heads that share keys become one product with more rows: (B H_kv, H / H_kv T, D).
        qh, kh, vh = _by_head(q, H_kv), _by_head(k, H_kv), _by_head(v, H_kv)
        blocks = row_blocks(T, S, bias is not None and bias.dim() == 2)
        out = None
        saved: list[Tensor] = []
        with torch.autocast(q.device.type, enabled=False):
            for first, last, keys in blocks:
                rows = _rows(qh, first, last, T)
                weights = _weights(rows, kh[:, :keys], bias, (first, last, keys), H, scale)
                kept = weights
                saved.append(weights)
                if dropout_p > 0:
                    keep = torch.empty_like(weights).bernoulli_(1 - dropout_p).div_(1 - dropout_p)
                    saved.append(keep)
                    kept = weights * keep
                part = torch.bmm(kept, vh[:, :keys])
                if len(blocks) == 1:
                    out = part
                else:
                    out = part.new_empty(qh.shape) if out is None else out
                    _rows(out, first, last, T, view=True).copy_(_unfold(part, last - first))
        assert out is not None
        ctx.save_for_backward(qh, kh, vh, *saved)
        ctx.shape, ctx.scale = (B, T, S, H, H_kv), scale  # type: ignore[attr-defined]
        ctx.blocks, ctx.dropped = blocks, dropout_p > 0  # type: ignore[attr-defined]
        return _by_token(out, B, T, H)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor):  # type: ignore[override]
        qh, kh, vh, *saved = ctx.saved_tensors  # type: ignore[attr-defined]
        (B, T, S, H, H_kv), scale = ctx.shape, ctx.scale  # type: ignore[attr-defined]
        blocks, dropped = ctx.blocks, ctx.dropped  # type: ignore[attr-defined]
        grad = _by_head(grad.to(qh.dtype), H_kv)
        zero = qh.new_empty(())
        grad_q, grad_k, grad_v = zero, zero, zero
        # The last block sees all keys: it begins the sums that the others add to.
        for number in reversed(range(len(blocks))):
            first, last, keys = blocks[number]
            weights, *keep = saved[2 * number : 2 * number + 2] if dropped else saved[number:][:1]
            g, k, v = _rows(grad, first, last, T), kh[:, :keys], vh[:, :keys]
            kept = weights * keep[0] if keep else weights
            grad_weights = torch.bmm(g, v.mT)
            if keep:
                grad_weights.mul_(keep[0])
            grad_scores = torch.ops.aten._softmax_backward_data(
                grad_weights, weights, -1, weights.dtype
            )
            part = torch.baddbmm(zero, grad_scores, k, beta=0, alpha=scale)
            rows = _rows(qh, first, last, T)
            if len(blocks) == 1:
                grad_q = part
            else:
                grad_q = part.new_empty(qh.shape) if number == len(blocks) - 1 else grad_q
                _rows(grad_q, first, last, T, view=True).copy_(_unfold(part, last - first))
            if number == len(blocks) - 1:
                grad_v = torch.bmm(kept.mT, g)
                grad_k = torch.baddbmm(zero, grad_scores.mT, rows, beta=0, alpha=scale)
            else:
                grad_v[:, :keys].baddbmm_(kept.mT, g)
                grad_k[:, :keys].baddbmm_(grad_scores.mT, rows, alpha=scale)
        by_token = _by_token(grad_q, B, T, H), _by_token(grad_k, B, S, H_kv)
        return *by_token, _by_token(grad_v, B, S, H_kv), None, None


def _weights(
    rows: Tensor,
    keys: Tensor,
    bias: Tensor | None,
    block: tuple[int, int, int],
    heads: int,
    scale: float,
) -> Tensor:
    """Softmax of a block of rows over its keys."""
    first, last, width = block
    if bias is not None and bias.dim() == 2:  # causal: added by the product itself
        part = bias[first:last, :width].repeat(rows.shape[1] // (last - first), 1)
        return torch.softmax(torch.baddbmm(part, rows, keys.mT, alpha=scale), -1)
    scores = torch.baddbmm(rows.new_empty(()), rows, keys.mT, beta=0, alpha=scale)
    if bias is None:
        return torch.softmax(scores, -1)
    scores.view(-1, heads, last - first, width).add_(bias)
    weights = torch.softmax(scores, -1)
    nothing = torch.isneginf(scores).all(-1, keepdim=True)  # there softmax is 0 / 0
    return weights.masked_fill_(nothing, 0.0)


def _rows(x: Tensor, first: int, last: int, T: int, view: bool = False) -> Tensor:
    """Of `(groups, heads T, D)` the rows of tokens [first, last) of every head.

    `(groups, heads (last - first), D)`; as a `view` `(groups, heads, last - first, D)`.
    """
    if not view and (first, last) == (0, T):
        return x
    found = x.view(x.shape[0], -1, T, x.shape[2])[:, :, first:last]
    return found if view else found.flatten(1, 2)


def _unfold(x: Tensor, rows: int) -> Tensor:
    """`(groups, heads rows, D)` to `(groups, heads, rows, D)`."""
    return x.view(x.shape[0], -1, rows, x.shape[2])


def _by_head(x: Tensor, groups: int) -> Tensor:
    """`(B, T, H, D)` to `(B groups, H / groups T, D)`."""
    B, T, H, D = x.shape
    return x.transpose(1, 2).reshape(B * groups, H // groups * T, D)


def _by_token(x: Tensor, B: int, T: int, H: int) -> Tensor:
    """The inverse of `_by_head`, as a view."""
    return x.view(B, H, T, x.shape[-1]).transpose(1, 2)
