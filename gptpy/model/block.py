"""One layer: attention and MLP, each behind a norm, each added to the residual stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gptpy.config.model import GPTConfig
from gptpy.model.context import Context
from gptpy.model.cross_attention import CrossAttention
from gptpy.model.mlp import MLP
from gptpy.model.norm import make_norm, norm_of_sum
from gptpy.model.self_attention import SelfAttention


class Block(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`; `(B, T, n_embd)` in and out.

    With `cross`, attention to the context's memory stands between the two.
    """

    def __init__(self, config: GPTConfig, layer: int, *, cross: bool = False) -> None:
        super().__init__()
        self.activation_checkpointing = config.activation_checkpointing
        self.attention_norm = make_norm(config)
        self.attention = SelfAttention(config, layer)
        self.cross_norm = make_norm(config) if cross else None
        self.cross_attention = CrossAttention(config, layer) if cross else None
        self.mlp_norm = make_norm(config)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        added = self.dropout(self.attention(self.attention_norm(x), context))
        if self.cross_norm is not None and self.cross_attention is not None:
            normed, x = norm_of_sum(self.cross_norm, added, x)
            added = self.dropout(self.cross_attention(normed, context))
        normed, x = norm_of_sum(self.mlp_norm, added, x)
        return x + self.dropout(self.mlp(normed))


def run_block(block: nn.Module, x: Tensor, context: Context) -> Tensor:
    """`block(x, context)`, keeping only its input for the backward pass where it asks for that."""
    if block.activation_checkpointing and torch.is_grad_enabled():
        x = checkpoint(block, x, context, use_reentrant=False)  # type: ignore[assignment]
        return x
    return block(x, context)
