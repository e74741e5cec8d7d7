"""Token embeddings whose gradient is the same in every run of compiled CPU code."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
