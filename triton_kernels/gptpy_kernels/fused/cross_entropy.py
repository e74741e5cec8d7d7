"""Fused cross entropy, on logits or on hidden states and the head's weight."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import autocast
from ..availability import check_backend, choose_backend
from ..devices import on_device_of
from ..namespace import NAMESPACE, OPERATORS

Reduction = Literal["mean", "sum", "none"]
IGNORE_INDEX = -100


def cross_entropy_reference(
    logits: Tensor, targets: Tensor, softcap: float = 0.0, ignore_index: int = IGNORE_INDEX
) -> tuple[Tensor, Tensor]:
    """Losses and log-sum-exps (N,) of logits (N, V) in float32 (float64 for float64)."""
    x = logits if logits.dtype == torch.float64 else logits.float()
    if softcap:
        x = softcap * torch.tanh(x / softcap)
    lse = torch.logsumexp(x, -1)
    return F.cross_entropy(x, targets, ignore_index=ignore_index, reduction="none"), lse


def cross_entropy_backward_reference(
    grad: Tensor,
    logits: Tensor,
    targets: Tensor,
    lse: Tensor,
    softcap: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Gradient of logits (N, V) for gradients (N,) of the losses."""
    x = logits if logits.dtype == torch.float64 else logits.float()
    slope: Tensor | float = 1.0
    if softcap:
        t = torch.tanh(x / softcap)
        x, slope = t * softcap, 1 - t * t
    kept = targets != ignore_index
    d = torch.exp(x - lse.unsqueeze(-1))
    d = d - F.one_hot(torch.where(kept, targets, 0), x.shape[-1])
    return (d * (grad * kept).unsqueeze(-1) * slope).to(logits.dtype)


def block_of(V: int) -> int:
    """Columns that a program takes at a time."""
    return min(4096, max(16, 1 << (V - 1).bit_length()))


@torch.library.custom_op(f"{NAMESPACE}::cross_entropy", mutates_args=())
def _forward(
    logits: Tensor, targets: Tensor, softcap: float, ignore_index: int, backend: str
) -> tuple[Tensor, Tensor]:
    if choose_backend(logits, backend) != "triton":
        return cross_entropy_reference(logits, targets, softcap, ignore_index)
    from . import cross_entropy_kernel as kernels

    kernel: Any = kernels.cross_entropy_kernel
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    N, V = logits.shape
    losses = torch.empty(N, device=logits.device, dtype=torch.float32)
    lse = torch.empty_like(losses)
    if N:
        on_device_of(logits, kernel)[(N,)](
            logits, targets.contiguous(), losses, lse, logits.stride(0), V, softcap or 1.0,
            ignore_index, BLOCK=block_of(V), HAS_SOFTCAP=softcap > 0, num_warps=8,
        )  # fmt: skip
    return losses, lse


@_forward.register_fake
def _(logits: Tensor, targets: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    losses = logits.new_empty(logits.shape[:1], dtype=dtype)
    return losses, torch.empty_like(losses)


@torch.library.custom_op(f"{NAMESPACE}::cross_entropy_backward", mutates_args=())
def _backward(
    grad: Tensor,
    logits: Tensor,
    targets: Tensor,
    lse: Tensor,
    softcap: float,
    ignore_index: int,
    backend: str,
) -> Tensor:
    if choose_backend(logits, backend) != "triton":
        return cross_entropy_backward_reference(grad, logits, targets, lse, softcap, ignore_index)
    from . import cross_entropy_kernel as kernels

    kernel: Any = kernels.cross_entropy_backward_kernel
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    N, V = logits.shape
    out = torch.empty(N, V, device=logits.device, dtype=logits.dtype)
    block = block_of(V)
    if out.numel():
        on_device_of(logits, kernel)[(N, -(-V // block))](
            grad.contiguous(), logits, targets.contiguous(), lse, out, logits.stride(0),
            out.stride(0), V, softcap or 1.0, ignore_index, BLOCK=block, HAS_SOFTCAP=softcap > 0,
            num_warps=8,
        )  # fmt: skip
    return out


@_backward.register_fake
def _(grad: Tensor, logits: Tensor, *rest: Any) -> Tensor:
    return logits.new_empty(logits.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, targets, ctx.softcap, ctx.ignore_index, ctx.backend = inputs
    ctx.save_for_backward(logits, targets, output[1])
    ctx.mark_non_differentiable(output[1])


def _differentiate(ctx: Any, grad: Tensor, _grad_lse: Tensor) -> tuple[Any, ...]:
    logits, targets, lse = ctx.saved_tensors
    grad_logits = OPERATORS.cross_entropy_backward(
        grad, logits, targets, lse, ctx.softcap, ctx.ignore_index, ctx.backend
    )
    return grad_logits, None, None, None, None


_forward.register_autograd(_differentiate, setup_context=_save)


def _check(
    rows: Tensor, targets: Tensor, V: int, softcap: float | None, reduction: str, ignore: int
) -> None:
    if not rows.is_floating_point():
        raise TypeError(f"expected floating logits or hidden states, got {rows.dtype}")
    if targets.shape != rows.shape[:-1] or targets.dtype != torch.int64:
        raise ValueError(
            f"targets: expected {tuple(rows.shape[:-1])} int64, "
            f"got {tuple(targets.shape)} {targets.dtype}"
        )
    if softcap is not None and not 0 < softcap < float("inf"):
        raise ValueError(f"softcap: expected a positive finite number or None, got {softcap}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
    if targets.device.type == "cpu" and targets.numel() and not torch.compiler.is_compiling():
        bad = (targets != ignore) & ((targets < 0) | (targets >= V))
        if bool(bad.any()):
            raise ValueError(
                f"targets: expected 0 to {V - 1} or {ignore}, got {int(targets[bad][0])}"
            )


def _reduce(losses: Tensor, targets: Tensor, reduction: str, ignore_index: int) -> Tensor:
    if reduction == "none":
        return losses.view(targets.shape)
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / (targets != ignore_index).sum().clamp(min=1)


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    softcap: float | None = None,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
    backend: Literal["triton", "reference"] | None = None,
) -> Tensor:
    """Cross entropy in nats of logits (..., V) and targets (...) int64, float32, differentiable.

    softcap: logits become softcap * tanh(logits / softcap) first. Targets equal to ignore_index
    count neither in the sum nor in the mean; the mean of none is 0. No float32 copy of the logits
    is made. Raises TypeError or ValueError naming what was expected; on a GPU a target out of range
    gives NaN.
    """
    V = logits.shape[-1]
    _check(logits, targets, V, softcap, reduction, ignore_index)
    losses, _ = _forward(
        logits.reshape(-1, V), targets.reshape(-1), float(softcap or 0), ignore_index,
        check_backend(backend),
    )  # fmt: skip
    return _reduce(losses, targets, reduction, ignore_index)


@torch.library.custom_op(f"{NAMESPACE}::linear_cross_entropy", mutates_args=())
def _linear_forward(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    softcap: float,
    ignore_index: int,
    chunk: int,
    backend: str,
) -> tuple[Tensor, Tensor]:
    with autocast.off(hidden):
        parts = [
            _forward(h @ weight.t(), t, softcap, ignore_index, backend)
            for h, t in zip(hidden.split(chunk), targets.split(chunk), strict=True)
        ]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


@_linear_forward.register_fake
def _(hidden: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    losses = hidden.new_empty(hidden.shape[:1], dtype=dtype)
    return losses, torch.empty_like(losses)


@torch.library.custom_op(f"{NAMESPACE}::linear_cross_entropy_backward", mutates_args=())
def _linear_backward(
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    lse: Tensor,
    softcap: float,
    ignore_index: int,
    chunk: int,
    backend: str,
) -> tuple[Tensor, Tensor]:
    grad_hidden = torch.empty_like(hidden)
    # Summed over the chunks in float32: in half precision small addends would vanish.
    wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
    grad_weight = torch.zeros(weight.shape, device=weight.device, dtype=wide)
    with autocast.off(hidden):
        for begin in range(0, hidden.shape[0], chunk):
            rows = slice(begin, begin + chunk)
            h = hidden[rows]
            d = _backward(
                grad[rows].contiguous(), h @ weight.t(), targets[rows], lse[rows], softcap,
                ignore_index, backend,
            )  # fmt: skip
            grad_hidden[rows] = d @ weight
            grad_weight += d.t() @ h
    return grad_hidden, grad_weight.to(weight.dtype)


@_linear_backward.register_fake
def _(grad: Tensor, hidden: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return hidden.new_empty(hidden.shape), weight.new_empty(weight.shape)


def _linear_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    hidden, weight, targets, *ctx.rest = inputs
    ctx.save_for_backward(hidden, weight, targets, output[1])
    ctx.mark_non_differentiable(output[1])


def _linear_differentiate(ctx: Any, grad: Tensor, _grad_lse: Tensor) -> tuple[Any, ...]:
    grads = OPERATORS.linear_cross_entropy_backward(grad, *ctx.saved_tensors, *ctx.rest)
    return (*grads, None, None, None, None, None)


_linear_forward.register_autograd(_linear_differentiate, setup_context=_linear_save)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    softcap: float | None = None,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
    chunk: int = 2048,
    backend: Literal["triton", "reference"] | None = None,
) -> Tensor:
    """`cross_entropy(hidden @ weight.T, targets)` for hidden (..., C), weight (V, C), in chunks.

    Logits exist for `chunk` rows at a time, in hidden's dtype; the backward pass computes them
    again: memory for one more matrix product. Under torch.autocast in its dtype. Errors as in
    `cross_entropy`.
    """
    hidden, weight = autocast.cast(hidden), autocast.cast(weight)
    if chunk < 1:
        raise ValueError(f"chunk: expected a number of rows >= 1, got {chunk}")
    if weight.dim() != 2 or weight.shape[1] != hidden.shape[-1] or weight.dtype != hidden.dtype:
        raise ValueError(
            f"weight: expected (V, {hidden.shape[-1]}) {hidden.dtype}, "
            f"got {tuple(weight.shape)} {weight.dtype}"
        )
    _check(hidden, targets, weight.shape[0], softcap, reduction, ignore_index)
    losses, _ = _linear_forward(
        hidden.reshape(-1, hidden.shape[-1]), weight, targets.reshape(-1), float(softcap or 0),
        ignore_index, chunk, check_backend(backend),
    )  # fmt: skip
    return _reduce(losses, targets, reduction, ignore_index)
