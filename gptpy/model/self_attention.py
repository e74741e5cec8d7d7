"""Multi-head self-attention with grouped keys and values."""

from __future__ import annotations

from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.attention import attention
from gptpy.model.context import Context
from gptpy.model.fast import lean_pays, rotated_heads
from gptpy.model.norm import RMSNorm
from gptpy.model.position import rotate


class SelfAttention(nn.Module):
    """`(B, T, n_embd)` to `(B, T, n_embd)`.

    Queries, keys and values are one matrix, `qkv.weight: ((H + 2 H_kv) D, n_embd)`, rows in that
    order; its output is used as views, no copy.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads, self.head_dim = config.n_head, config.kv_heads, config.head_size
        self.window = config.window_of_layer(layer)
        self.softcap = config.attention_softcap
        self.dropout = config.attention_dropout_rate
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = nn.Linear(config.n_embd, rows, bias=config.has_qkv_bias)
        self.out = nn.Linear(self.heads * self.head_dim, config.n_embd, bias=config.bias)
        self.fusions: frozenset[str] = frozenset()
        self.q_norm = self.k_norm = None
        if config.qk_norm:
            self.q_norm = RMSNorm(self.head_dim, config.norm_eps, config.norm_affine)
            self.k_norm = RMSNorm(self.head_dim, config.norm_eps, config.norm_affine)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        B, T, _ = x.shape
        heads = self.qkv(x).view(B, T, self.heads + 2 * self.kv_heads, self.head_dim)
        q, k, v = self.prepare(heads, context.rotation)
        if context.cache is not None:
            k, v = context.cache.append(self.layer, k, v)
        out = attention(
            q,
            k,
            v,
            softcap=self.softcap,
            dropout_p=self.dropout if self.training else 0.0,
            backend=context.backend,
            **context.masks(T, k.shape[1], self.window, q),
        )
        return self.out(out.reshape(B, T, -1))

    def prepare(
        self, heads: Tensor, rotation: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, `(B, T, h, D)`, normalised and rotated where asked for."""
        split = (self.heads, self.kv_heads)
        fused = rotation is not None and "rope" in self.fusions
        if rotation is not None and rotation[0].dim() == 2 and lean_pays(heads) and not fused:
            if self.q_norm is None or self.k_norm is None:
                return rotated_heads(heads, split, *rotation)
            weights = None
            if self.q_norm.weight is not None and self.k_norm.weight is not None:
                weights = (self.q_norm.weight, self.k_norm.weight)
            return rotated_heads(heads, split, *rotation, weights, self.q_norm.eps)
        q, k, v = heads.split((*split, self.kv_heads), dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None and fused:
            from gptpy_kernels import apply_rope

            q = apply_rope(q, *rotation, backend="triton")
            k = apply_rope(k, *rotation, backend="triton")
        elif rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        return q, k, v
