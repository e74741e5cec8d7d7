"""SwiGLU on a CPU: the product of the two halves, with a gradient that fills one tensor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from gptpy.model.fast.conditions import eager_on_cpu
from gptpy.model.transformer import MLP


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
