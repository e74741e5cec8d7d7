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
        with torch.autocast(q.device.type, enabled=False):
            if bias is not None and bias.dim() == 2:  # causal: added by the product itself
                rows = bias.repeat(H // H_kv, 1) if H_kv != H else bias
                scores = torch.baddbmm(rows, qh, kh.mT, alpha=scale)
                weights = torch.softmax(scores, -1)
            else:
                scores = torch.baddbmm(qh.new_empty(()), qh, kh.mT, beta=0, alpha=scale)
                if bias is not None:
                    scores.view(B, H, T, S).add_(bias)
                weights = torch.softmax(scores, -1)
                if bias is not None:  # softmax makes a row that sees nothing 0 / 0
                    nothing = torch.isneginf(scores).all(-1, keepdim=True)
                    weights.masked_fill_(nothing, 0.0)
            keep = None
            kept = weights
            if dropout_p > 0:
                keep = torch.empty_like(weights).bernoulli_(1 - dropout_p).div_(1 - dropout_p)
                kept = weights * keep
            out = torch.bmm(kept, vh)
        ctx.save_for_backward(qh, kh, vh, weights, *(() if keep is None else (keep,)))
        ctx.shape, ctx.scale = (B, T, S, H, H_kv), scale  # type: ignore[attr-defined]
        return _by_token(out, B, T, H)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor):  # type: ignore[override]
        qh, kh, vh, weights, *keep = ctx.saved_tensors  # type: ignore[attr-defined]
        (B, T, S, H, H_kv), scale = ctx.shape, ctx.scale  # type: ignore[attr-defined]
        grad = _by_head(grad.to(weights.dtype), H_kv)
        kept = weights * keep[0] if keep else weights
        grad_v = torch.bmm(kept.mT, grad)
        grad_weights = torch.bmm(grad, vh.mT)
        if keep:
            grad_weights.mul_(keep[0])
        grad_scores = torch.ops.aten._softmax_backward_data(
            grad_weights, weights, -1, weights.dtype
        )
        zero = qh.new_empty(())
        grad_q = torch.baddbmm(zero, grad_scores, kh, beta=0, alpha=scale)
        grad_k = torch.baddbmm(zero, grad_scores.mT, qh, beta=0, alpha=scale)
        by_token = _by_token(grad_q, B, T, H), _by_token(grad_k, B, S, H_kv)
        return *by_token, _by_token(grad_v, B, S, H_kv), None, None


def _by_head(x: Tensor, groups: int) -> Tensor:
    """`(B, T, H, D)` to `(B groups, H / groups T, D)`."""
    B, T, H, D = x.shape
    return x.transpose(1, 2).reshape(B * groups, H // groups * T, D)


def _by_token(x: Tensor, B: int, T: int, H: int) -> Tensor:
    """The inverse of `_by_head`, as a view."""
    return x.view(B, H, T, x.shape[-1]).transpose(1, 2)
