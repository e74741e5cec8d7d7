"""Attention of a decoder to an encoder's output."""

from __future__ import annotations

from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.attention import attention
from gptpy.model.context import Context
from gptpy.model.norm import RMSNorm


class CrossAttention(nn.Module):
    """`(B, T, n_embd)` looks at `memory: (B, S, n_embd)`; `(B, T, n_embd)` out.

    No positions: the encoder's output carries its own. Keys and values are one matrix,
    `kv.weight: (2 H_kv D, n_embd)`; with a cache they are computed once a text.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads, self.head_dim = config.n_head, config.kv_heads, config.head_size
        self.softcap, self.dropout = config.attention_softcap, config.attention_dropout_rate
        bias = config.has_qkv_bias
        self.q = nn.Linear(config.n_embd, self.heads * self.head_dim, bias=bias)
        self.kv = nn.Linear(config.n_embd, 2 * self.kv_heads * self.head_dim, bias=bias)
        self.out = nn.Linear(self.heads * self.head_dim, config.n_embd, bias=config.bias)
        self.q_norm = self.k_norm = None
        if config.qk_norm:
            self.q_norm = RMSNorm(self.head_dim, config.norm_eps, config.norm_affine)
            self.k_norm = RMSNorm(self.head_dim, config.norm_eps, config.norm_affine)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        B, T, _ = x.shape
        q = self.q(x).view(B, T, self.heads, self.head_dim)
        if self.q_norm is not None:
            q = self.q_norm(q)
        k, v = self.keys_and_values(context)
        out = attention(
            q,
            k,
            v,
            causal=False,
            softcap=self.softcap,
            key_padding_mask=context.memory_padding_mask,
            dropout_p=self.dropout if self.training else 0.0,
            backend=context.backend,
        )
        return self.out(out.reshape(B, T, -1))

    def keys_and_values(self, context: Context) -> tuple[Tensor, Tensor]:
        """Of the memory, each `(B, S, H_kv, D)`."""
        cache = context.cache
        if cache is not None and self.layer in cache.memory:
            return cache.memory[self.layer]
        memory = context.memory
        assert memory is not None, "a decoder with cross-attention is run with a memory"
        B, S, _ = memory.shape
        k, v = self.kv(memory).view(B, S, 2 * self.kv_heads, self.head_dim).chunk(2, dim=2)
        if self.k_norm is not None:
            k = self.k_norm(k)
        if cache is not None:
            cache.memory[self.layer] = (k, v)
        return k, v
