"""Quick layers that need no kernels: on a CPU in fewer passes, and the loss in chunks of tokens.

Each computes the plain formula of `transformer.py` outside its own case. The CPU forms compute in
fp32, with gradients written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from gptpy.model.transformer import IGNORE, MLP, HeadLoss, RMSNorm, SelfAttention, cross_entropy


def eager_on_cpu(x: Tensor) -> bool:
    """Whether `x` is on a CPU and neither compiled nor exported: the CPU forms are for this case.

    `torch.compile` fuses the plain formulas itself, and exports should hold torch's own operators.
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def compute_dtype(x: Tensor) -> torch.dtype:
    """The number type of matrix products with `x`: autocast's where it is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class CpuRMSNorm(RMSNorm):
    """The same in fewer passes, returned in the type of the next matrix product."""

    def forward(self, x: Tensor) -> Tensor:
        if eager_on_cpu(x):
            return rms_norm(x, self.weight, self.eps, compute_dtype(x))
        return super().forward(x)


def rms_norm(x: Tensor, weight: Tensor | None, eps: float, dtype: torch.dtype) -> Tensor:
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimension, computed in fp32, as `dtype`.

    With the type of the next matrix product for `dtype`, autocast needs no pass to convert.
    """
    out = _RMSNorm.apply(x, weight, eps, dtype)
    assert isinstance(out, Tensor)
    return out


def reciprocal_rms(x: Tensor, eps: float) -> Tensor:
    """`1 / sqrt(mean(x^2) + eps)` over the last dimension (kept, of size 1), in fp32."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().mul_(1 / x.shape[-1]).add_(eps).rsqrt_()


def sum_of_rows(x: Tensor) -> Tensor:
    """`x: (..., n)` summed to `(n,)`, as a product with ones: much faster than torch's `sum`."""
    rows = x.reshape(-1, x.shape[-1])
    return torch.mv(rows.T, rows.new_ones(rows.shape[0]))


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor | None, eps: float, dtype: torch.dtype
    ) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = reciprocal_rms(wide, eps)
        ctx.save_for_backward(x, scale, *(() if weight is None else (weight,)))
        out = wide * scale
        if weight is not None:
            out.mul_(weight)
        return out.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor):  # type: ignore[override]
        x, scale, *weights = ctx.saved_tensors  # type: ignore[attr-defined]
        normal = x * scale
        grad = grad.to(normal.dtype)
        product = grad * normal
        grad_weight = None
        if weights:
            weight = weights[0].to(normal.dtype)
            grad_weight = sum_of_rows(product).to(weights[0].dtype)
            along = torch.matmul(product, weight)[..., None]
            grad = grad * weight
        else:
            along = product.sum(-1, keepdim=True)
        along.mul_(-1 / x.shape[-1])
        # dx = (g - normal mean(g normal)) / rms: the part along x does not change the output.
        grad_x = torch.addcmul(grad, normal, along).mul_(scale)
        return grad_x.to(x.dtype), grad_weight, None, None


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


class CpuSwiGLU(MLP):
    """An MLP with `activation = "swiglu"`."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        return self.down(swiglu(x) if eager_on_cpu(x) else self.activation(x))


def swiglu(x: Tensor) -> Tensor:
    """`silu(gate) * up` of `x: (..., 2 h)`, gate first; `(..., h)`, in the type of `x`."""
    out = _SwiGLU.apply(x)
    assert isinstance(out, Tensor)
    return out


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        gate, up = x.chunk(2, -1)
        active = F.silu(gate)
        ctx.save_for_backward(x, active)
        return active * up

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor):  # type: ignore[override]
        x, active = ctx.saved_tensors  # type: ignore[attr-defined]
        gate, up = x.chunk(2, -1)
        # Both halves are written into one tensor. Autograd would fill two with zeros and add.
        out = torch.empty_like(x)
        grad_gate, grad_up = out.chunk(2, -1)
        torch.mul(grad, active, out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
        return out


class ReproducibleEmbedding(nn.Embedding):
    """`nn.Embedding`: ids `(...)` to `(..., C)`.

    torch's compiler adds the gradients of equal ids by atomic additions of all threads, in another
    order every time: a resumed run would differ from the uninterrupted one in the last bits.
    """

    def forward(self, input: Tensor) -> Tensor:
        compiled = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
        if compiled and self.weight.device.type == "cpu":
            return _Lookup.apply(input, self.weight)  # type: ignore[no-any-return]
        return super().forward(input)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.rows = weight.shape[0]
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        (ids,) = ctx.saved_tensors
        return None, _gradient(grad, ids, ctx.rows)


@torch.library.custom_op("gptpy::embedding_gradient", mutates_args=())
def _gradient(grad: Tensor, ids: Tensor, rows: int) -> Tensor:
    # The compiler does not look into a custom operator. Here each thread adds rows of its own, in
    # order.
    return torch.ops.aten.embedding_dense_backward(grad.contiguous(), ids, rows, -1, False)


@_gradient.register_fake
def _(grad: Tensor, ids: Tensor, rows: int) -> Tensor:
    return grad.new_empty((rows, grad.shape[-1]))


LOGITS_AT_ONCE = 1 << 23  # 32 MB in fp32


class ChunkedHeadLoss(HeadLoss):
    """The plain layer with gradients; without them, memory does not grow with the batch."""

    def forward(self, hidden: Tensor, weight: Tensor, targets: Tensor, reduction: str) -> Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(hidden, weight, targets, reduction)
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
        losses = torch.zeros(targets.shape, dtype=torch.float32, device=hidden.device)
        scored = targets != IGNORE
        parts = [
            cross_entropy(logits, wanted, "none")
            for logits, wanted in scored_chunks(self, hidden, weight, targets)
        ]
        losses[scored] = torch.cat([*parts, losses.new_empty(0)])
        if reduction == "none":
            return losses
        return losses.sum() if reduction == "sum" else losses.sum() / scored.sum()


def scored_chunks(
    head: HeadLoss, hidden: Tensor, weight: Tensor, targets: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits `(n, V)` and targets `(n,)` of the scored tokens, a chunk at a time, in order.

    `hidden: (B, T, E)`, `weight: (V, E)`, `targets: (B, T)`.
    """
    scored = targets != IGNORE
    step = max(1, LOGITS_AT_ONCE // weight.shape[0])
    for part, wanted in zip(hidden[scored].split(step), targets[scored].split(step), strict=True):
        yield head.logits(part, weight), wanted
