"""Queries and keys on a CPU: normalised, rotated and laid out by head in one operation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from gptpy.model.fast.conditions import eager_on_cpu
from gptpy.model.fast.norm import reciprocal_rms, sum_of_rows
from gptpy.model.transformer import SelfAttention


class CpuSelfAttention(SelfAttention):
    """Self-attention with rotated queries and keys (RoPE); without a rotation, the plain one."""

    def queries_keys_values(
        self, x: Tensor, rotation: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if rotation is None or not eager_on_cpu(x):
            return super().queries_keys_values(x, rotation)
        B, T, _ = x.shape
        heads = self.qkv(x).view(B, T, self.heads + 2 * self.kv_heads, self.head_dim)
        split = (self.heads, self.kv_heads)
        if self.q_norm is None or self.k_norm is None:
            return rotated_heads(heads, split, *rotation)
        weights = None
        if self.q_norm.weight is not None and self.k_norm.weight is not None:
            weights = (self.q_norm.weight, self.k_norm.weight)
        return rotated_heads(heads, split, *rotation, weights, self.q_norm.eps)


def rotated_heads(
    heads: Tensor,
    split: tuple[int, int],
    cos: Tensor,
    sin: Tensor,
    weights: tuple[Tensor, Tensor] | None = None,
    eps: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`q, k, v` of shape `(B, T, h, D)` from `heads: (B, T, H + 2 H_kv, D)`.

    `split` is `(H, H_kv)`; `cos, sin: (T, D / 2)` fp32. With `eps`, queries and keys are first
    divided by their root mean square and, with `weights: ((D,), (D,))`, multiplied. `q` and `k`
    lie in memory as `(B, h, T, D)`, the order of batched products.
    """
    q_weight, k_weight = (None, None) if weights is None else weights
    out = _RotatedHeads.apply(heads, split, cos, sin, q_weight, k_weight, eps)
    assert isinstance(out, tuple)
    q, k, v = out
    return q, k, v


class _RotatedHeads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        heads: Tensor,
        split: tuple[int, int],
        cos: Tensor,
        sin: Tensor,
        q_weight: Tensor | None,
        k_weight: Tensor | None,
        eps: float | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        H, H_kv = split
        x = heads[:, :, : H + H_kv].to(torch.promote_types(heads.dtype, torch.float32))
        scale = None if eps is None else reciprocal_rms(x, eps)
        normal = x if scale is None else x * scale
        if q_weight is not None and k_weight is not None:
            weight = _per_head(q_weight, k_weight, H, H_kv)
            rotated = _rotate(normal * weight, cos, sin)
        else:
            rotated = _rotate(normal, cos, sin)
        by_head = torch.empty(
            (x.shape[0], H + H_kv, x.shape[1], x.shape[3]), dtype=heads.dtype, device=x.device
        )
        by_head.transpose(1, 2).copy_(rotated)
        # A rotation alone is linear: its gradient needs no inputs.
        kept = () if scale is None else (normal, scale)
        both = () if q_weight is None or k_weight is None else (q_weight, k_weight)
        ctx.save_for_backward(cos, sin, *kept, *both)
        ctx.split, ctx.dtype = split, heads.dtype  # type: ignore[attr-defined]
        qk = by_head.transpose(1, 2)
        return qk[:, :, :H], qk[:, :, H:], heads[:, :, H + H_kv :]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor):  # type: ignore[override]
        cos, sin, *kept = ctx.saved_tensors  # type: ignore[attr-defined]
        H, H_kv = ctx.split  # type: ignore[attr-defined]
        B, T, _, D = grad_q.shape
        wide = cos.dtype
        grad = torch.empty((B, T, H + H_kv, D), dtype=wide, device=grad_q.device)
        grad[:, :, :H].copy_(grad_q)
        grad[:, :, H:].copy_(grad_k)
        grad = _rotate(grad, cos, -sin)  # the rotation's transpose
        grad_weights: tuple[Tensor | None, Tensor | None] = (None, None)
        if kept:
            normal, scale, *weights = kept
            product = grad * normal
            if weights:
                q_weight, k_weight = weights
                by_head = sum_of_rows(product.flatten(2)).view(H + H_kv, D)
                grad_weights = (
                    by_head[:H].sum(0).to(q_weight.dtype),
                    by_head[H:].sum(0).to(k_weight.dtype),
                )
                weight = _per_head(q_weight, k_weight, H, H_kv)
                grad.mul_(weight)
                product.mul_(weight)
            along = product.sum(-1, keepdim=True).mul_(-1 / D)
            grad.addcmul_(normal, along).mul_(scale)
        grad_heads = torch.empty((B, T, H + 2 * H_kv, D), dtype=ctx.dtype, device=grad.device)  # type: ignore[attr-defined]
        grad_heads[:, :, : H + H_kv].copy_(grad)
        grad_heads[:, :, H + H_kv :].copy_(grad_v)
        return grad_heads, None, None, None, *grad_weights, None


def _per_head(q_weight: Tensor, k_weight: Tensor, H: int, H_kv: int) -> Tensor:
    """`(H + H_kv, D)`: the weight of every head's row."""
    return torch.cat((q_weight.expand(H, -1), k_weight.expand(H_kv, -1)))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`transformer.rotate` in three passes; fp32 in and out."""
    half = x.shape[-1] // 2
    cos, sin = cos[:, None].to(x.dtype), sin[:, None].to(x.dtype)
    out = x * torch.cat((cos, cos), -1)
    out[..., :half].addcmul_(x[..., half:], sin, value=-1)
    out[..., half:].addcmul_(x[..., :half], sin)
    return out
