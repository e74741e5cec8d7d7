"""One layer: attention and MLP, each behind a norm, each added to the residual stream."""

from __future__ import annotations

from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.context import Context
from gptpy.model.mlp import MLP
from gptpy.model.norm import make_norm
from gptpy.model.self_attention import SelfAttention


class Block(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`; `(B, T, n_embd)` in and out."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = SelfAttention(config, layer)
        self.mlp_norm = make_norm(config)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), context))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))
