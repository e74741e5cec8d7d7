"""Layers of `transformer.py` as calls of the fused Triton kernels in `gptpy_kernels`."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from gptpy.model.attention.reference import called_alone
from gptpy.model.fast.layers import compute_dtype
from gptpy.model.transformer import (
    IGNORE,
    MLP,
    Block,
    ForwardState,
    HeadLoss,
    RMSNorm,
    SelfAttention,
)


class FusedRMSNorm(RMSNorm):
    """The norm in one kernel, returned in the type of the next matrix product."""

    def forward(self, x: Tensor) -> Tensor:
        from gptpy_kernels import rms_norm

        dtype = compute_dtype(x)
        return rms_norm(x, self.weight, eps=self.eps, dtype=dtype, backend="triton")

    def of_sum(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """`self(x + residual)` and the sum, from one kernel that reads and writes both once."""
        from gptpy_kernels import rms_norm

        dtype = compute_dtype(residual)
        return rms_norm(
            x, self.weight, residual=residual, eps=self.eps, dtype=dtype, backend="triton"
        )


class FusedNormBlock(Block):
    """A block whose norms are `FusedRMSNorm`: each adds to the residual stream what it norms."""

    def forward(
        self, x: Tensor, state: ForwardState | None = None, *, return_attention: bool = False
    ) -> Any:
        if state is None or return_attention:
            return called_alone(self, x, state, return_attention)
        cross_norm: Any = self.cross_norm
        mlp_norm: Any = self.mlp_norm
        added = self.dropout(self.attention(self.attention_norm(x), state))
        if self.cross_attention is not None:
            normed, x = cross_norm.of_sum(added, x)
            added = self.dropout(self.cross_attention(normed, state))
        normed, x = mlp_norm.of_sum(added, x)
        return x + self.dropout(self.mlp(normed))


class FusedRotation(SelfAttention):
    """Self-attention with one kernel for the rotation of the queries, one for that of the keys."""

    def queries_keys_values(
        self, x: Tensor, rotation: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        from gptpy_kernels import apply_rope

        q, k, v = super().queries_keys_values(x, None)
        if rotation is not None:
            q = apply_rope(q, *rotation, backend="triton")
            k = apply_rope(k, *rotation, backend="triton")
        return q, k, v


class FusedSwiGLU(MLP):
    """An MLP with `activation = "swiglu"`, the product of the halves in one kernel."""

    def forward(self, x: Tensor) -> Tensor:
        from gptpy_kernels import swiglu

        return self.down(swiglu(self.up(x), backend="triton"))


class FusedHeadLoss(HeadLoss):
    """Head and loss in chunks of tokens, in the type of the products: all logits never exist."""

    def forward(self, hidden: Tensor, weight: Tensor, targets: Tensor, reduction: str) -> Tensor:
        from gptpy_kernels import linear_cross_entropy

        return linear_cross_entropy(
            hidden, weight, targets, softcap=self.softcap, ignore_index=IGNORE,
            reduction=cast(Any, reduction), backend="triton",
        )  # fmt: skip
