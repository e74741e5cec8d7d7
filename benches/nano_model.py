"""The baseline: a plain PyTorch GPT of nanoGPT's published shape.

Written from its published hyper-parameters: bias-free LayerNorm and linear layers, exact GELU, tied
head, learned positions, fused qkv, torch's scaled_dot_product_attention. Weights have gptpy's
names, so that both start from the same ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptpy.config import GPTConfig


class NanoAttention(nn.Module):
    def __init__(self, c: GPTConfig) -> None:
        super().__init__()
        self.n_head, self.n_embd = c.n_head, c.n_embd
        self.qkv = nn.Linear(c.n_embd, 3 * c.n_embd, bias=c.bias)
        self.out = nn.Linear(c.n_embd, c.n_embd, bias=c.bias)
        self.resid_dropout = nn.Dropout(c.dropout)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
            for part in self.qkv(x).split(self.n_embd, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.resid_dropout(self.out(y.transpose(1, 2).contiguous().view(B, T, C)))


class NanoMLP(nn.Module):
    def __init__(self, c: GPTConfig) -> None:
        super().__init__()
        self.up = nn.Linear(c.n_embd, 4 * c.n_embd, bias=c.bias)
        self.down = nn.Linear(4 * c.n_embd, c.n_embd, bias=c.bias)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.down(F.gelu(self.up(x))))


class NanoBlock(nn.Module):
    def __init__(self, c: GPTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(c.n_embd, bias=c.bias)
        self.attention = NanoAttention(c)
        self.mlp_norm = nn.LayerNorm(c.n_embd, bias=c.bias)
        self.mlp = NanoMLP(c)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class NanoGPT(nn.Module):
    """`model(ids, targets) -> (logits, loss)`, both always computed, as there."""

    def __init__(self, c: GPTConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(c.vocab_size, c.n_embd)
        self.position_embedding = nn.Embedding(c.block_size, c.n_embd)
        self.drop = nn.Dropout(c.dropout)
        self.blocks = nn.ModuleList(NanoBlock(c) for _ in range(c.n_layer))
        self.norm = nn.LayerNorm(c.n_embd, bias=c.bias)

    def forward(self, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.drop(self.token_embedding(ids) + self.position_embedding(positions))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.token_embedding.weight)
        return logits, F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))
