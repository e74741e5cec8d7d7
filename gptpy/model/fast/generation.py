"""Layers for generation: the plain formulas without what only training and inspection need.

A step of one token computes little between its matrix products, and after it has read all weights
no cache holds the code of the next call. So the calls count: of modules by way of hooks and of
`__getattr__`, of dropout that is off, of sums into new memory, of views.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gptpy.model.fast.layers import CpuSelfAttention
from gptpy.model.transformer import Block, ForwardState, SelfAttention


def for_generation(block: Block) -> None:
    """Gives a block, and its attention, that do not have kernels of their own the forms below."""
    if type(block) is not Block:
        return
    if type(block.attention) in (SelfAttention, CpuSelfAttention):
        block.attention.__class__ = GenerationAttention
    layers = (block.attention_norm, block.attention, block.mlp_norm, block.mlp)
    block.calls = tuple(layer.forward for layer in layers)  # type: ignore[assignment]
    block.__class__ = GenerationBlock


class GenerationBlock(Block):
    """A block in evaluation mode; with gradients, or alone, it computes as `Block` does.

    Hooks on its layers do not run, because their `forward` is called directly.
    """

    calls: Any

    def forward(
        self, x: Tensor, state: ForwardState | None = None, *, return_attention: bool = False
    ) -> Any:
        if state is None or return_attention or torch.is_grad_enabled():
            return super().forward(x, state, return_attention=return_attention)
        attention_norm, attention, mlp_norm, mlp = self.calls
        # Sums go into what a layer has just made: x itself may be someone else's.
        x = attention(attention_norm(x), state).add_(x)
        if self.cross_norm is not None and self.cross_attention is not None:
            x = self.cross_attention(self.cross_norm(x), state).add_(x)
        return mlp(mlp_norm(x)).add_(x)


class GenerationAttention(CpuSelfAttention):
    """Self-attention that hands one text's queries, keys and values on as they lie in memory."""

    def forward(
        self, x: Tensor, state: ForwardState | None = None, *, return_attention: bool = False
    ) -> Any:
        attend_heads = getattr(state and state.cache, "attend_heads", None)
        if (
            state is None
            or attend_heads is None
            or return_attention
            or state.rotation is not None
            or self.q_norm is not None
            or torch.is_grad_enabled()
        ):
            return super().forward(x, state, return_attention=return_attention)
        heads = self.qkv.forward(x).view(-1, self.heads + 2 * self.kv_heads, self.head_dim)
        out = attend_heads(self.layer, heads, self.heads, self.window)  # (N, H, D)
        return self.out.forward(out.reshape(1, len(heads), -1))
