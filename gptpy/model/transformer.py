"""Every network of the package as plain formulas, to be read from top to bottom.

Letters in shapes: B rows, T tokens, S keys, C = n_embd, H heads, H_kv heads of keys and values,
D columns of a head, V = vocab_size. Nothing here is tuned: `fast/` replaces layers of this file by
quicker ones, `attention/` holds other back ends for the one formula of attention, and the tests
compare both with this file. Attributes that hold layers name the weights in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gptpy.config.model import GPTConfig
from gptpy.model.attention.reference import ForwardState, Masks, called_alone, reference
from gptpy.model.cache import KVCache
from gptpy.model.parameters import initialise
from gptpy.model.tables import FixedTables, position_tables

IGNORE = -100
"""Targets with this value take no part in the loss."""


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE: `x: (B, T, H, D)` rotated by the angles of `cos, sin: (T, D / 2)`.

    Column i is paired with column i + D / 2, as in Hugging Face's Llama, not with its neighbour as
    in the paper: a permutation of the weights' rows.
    """
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.unsqueeze(-2).to(x.dtype), sin.unsqueeze(-2).to(x.dtype)  # (T, 1, D / 2)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class RMSNorm(nn.Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimension; shape and dtype of `x`."""

    def __init__(self, width: int, eps: float, affine: bool = True) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.weight = nn.Parameter(torch.ones(width)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        weight = None if self.weight is None else self.weight.to(x.dtype)
        return F.rms_norm(x, (self.width,), weight, self.eps)


def make_norm(c: GPTConfig) -> nn.Module:
    """The norm over C columns that `c.norm` names."""
    if c.norm == "rmsnorm":
        return RMSNorm(c.n_embd, c.norm_eps, c.norm_affine)
    return nn.LayerNorm(c.n_embd, c.norm_eps, elementwise_affine=c.norm_affine, bias=c.bias)


def make_head_norm(c: GPTConfig) -> RMSNorm | None:
    """QK-norm: the norm of one head's queries or keys, over D columns."""
    return RMSNorm(c.head_size, c.norm_eps, c.norm_affine) if c.qk_norm else None


class SelfAttention(nn.Module):
    """`x: (B, T, C)` to `(B, T, C)`, with H_kv <= H heads of keys and values (GQA).

    By itself: `SelfAttention(config)(x)`; with `return_attention` also the weights `(B, H, T, S)`.
    """

    def __init__(self, c: GPTConfig, layer: int = 0) -> None:
        super().__init__()
        self.config, self.layer, self.window = c, layer, c.window_of_layer(layer)
        self.heads, self.kv_heads, self.head_dim = c.n_head, c.kv_heads, c.head_size
        self.softcap, self.dropout = c.attention_softcap, c.attention_dropout_rate
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim  # queries, then keys, then values
        self.qkv = nn.Linear(c.n_embd, rows, bias=c.has_qkv_bias)
        self.out = nn.Linear(self.heads * self.head_dim, c.n_embd, bias=c.bias)
        self.q_norm, self.k_norm = make_head_norm(c), make_head_norm(c)

    def forward(
        self, x: Tensor, state: ForwardState | None = None, *, return_attention: bool = False
    ) -> Any:
        if state is None or return_attention:
            return called_alone(self, x, state, return_attention)
        q, k, v = self.queries_keys_values(x, state.rotation)
        if state.cache is not None:  # all tokens so far: (B, S, H_kv, D)
            k, v = state.cache.append(self.layer, k, v)
        p = self.dropout if self.training else 0.0
        out = state.attend(q, k, v, state.masks, self.window, self.softcap, p)  # (B, T, H, D)
        return self.out(out.flatten(2))  # (B, T, H D) -> (B, T, C)

    def queries_keys_values(
        self, x: Tensor, rotation: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`(B, T, H, D)` and twice `(B, T, H_kv, D)`; queries and keys normalised and rotated."""
        B, T, _ = x.shape
        heads = self.qkv(x).view(B, T, self.heads + 2 * self.kv_heads, self.head_dim)
        q, k, v = heads.split((self.heads, self.kv_heads, self.kv_heads), dim=2)  # views
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        return q, k, v


class CrossAttention(nn.Module):
    """`x: (B, T, C)` looks at `state.memory: (B, S, C)`, without rotations; `(B, T, C)` out.

    With `return_attention` also the weights `(B, H, T, S)`.
    """

    def __init__(self, c: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads, self.head_dim = c.n_head, c.kv_heads, c.head_size
        self.softcap, self.dropout = c.attention_softcap, c.attention_dropout_rate
        self.q = nn.Linear(c.n_embd, self.heads * self.head_dim, bias=c.has_qkv_bias)
        self.kv = nn.Linear(c.n_embd, 2 * self.kv_heads * self.head_dim, bias=c.has_qkv_bias)
        self.out = nn.Linear(self.heads * self.head_dim, c.n_embd, bias=c.bias)
        self.q_norm, self.k_norm = make_head_norm(c), make_head_norm(c)

    def forward(self, x: Tensor, state: ForwardState, *, return_attention: bool = False) -> Any:
        if return_attention:
            return called_alone(self, x, state, return_attention)
        q = self.q(x).view(*x.shape[:2], self.heads, self.head_dim)
        q = q if self.q_norm is None else self.q_norm(q)
        k, v = self.keys_values(state)
        p = self.dropout if self.training else 0.0
        out = state.attend(q, k, v, state.memory_masks, None, self.softcap, p)
        return self.out(out.flatten(2))

    def keys_values(self, state: ForwardState) -> tuple[Tensor, Tensor]:
        """Of the memory, `(B, S, H_kv, D)` each; with a cache computed once for all new tokens."""
        if state.cache is not None and self.layer in state.cache.memory:
            return state.cache.memory[self.layer]
        assert state.memory is not None
        B, S, _ = state.memory.shape
        k, v = self.kv(state.memory).view(B, S, 2 * self.kv_heads, self.head_dim).chunk(2, dim=2)
        k = k if self.k_norm is None else self.k_norm(k)
        if state.cache is not None:
            state.cache.memory[self.layer] = (k, v)
        return k, v


def relu2(x: Tensor) -> Tensor:
    return F.relu(x).square()


def swiglu(x: Tensor) -> Tensor:
    gate, up = x.chunk(2, dim=-1)  # (..., 2 h) -> (..., h)
    return F.silu(gate) * up


def geglu(x: Tensor) -> Tensor:
    gate, up = x.chunk(2, dim=-1)
    return F.gelu(gate) * up


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "relu2": relu2,
    "silu": F.silu,
    "swiglu": swiglu,
    "geglu": geglu,
}


class MLP(nn.Module):
    """`down(activation(up(x)))`, `(B, T, C)` in and out.

    Of a gated activation the gate's rows come first in `up`: one product instead of two.
    """

    def __init__(self, c: GPTConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[c.activation]
        self.up = nn.Linear(c.n_embd, c.hidden_size * (2 if c.gated else 1), bias=c.bias)
        self.down = nn.Linear(c.hidden_size, c.n_embd, bias=c.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    """Attention and MLP, each behind a norm and added to the residual stream, `(B, T, C)`.

    By itself: `Block(config)(x)`; with `return_attention` also the weights `(B, H, T, S)`. With
    `cross`, attention to the encoder's output stands between the two.
    """

    def __init__(self, c: GPTConfig, layer: int = 0, *, cross: bool = False) -> None:
        super().__init__()
        self.config = c
        self.attention_norm = make_norm(c)
        self.attention = SelfAttention(c, layer)
        self.cross_norm = make_norm(c) if cross else None
        self.cross_attention = CrossAttention(c, layer) if cross else None
        self.mlp_norm = make_norm(c)
        self.mlp = MLP(c)
        self.dropout = nn.Dropout(c.dropout) if c.dropout else nn.Identity()

    def forward(
        self, x: Tensor, state: ForwardState | None = None, *, return_attention: bool = False
    ) -> Any:
        if state is None or return_attention:
            return called_alone(self, x, state, return_attention)
        x = x + self.dropout(self.attention(self.attention_norm(x), state))
        if self.cross_norm is not None and self.cross_attention is not None:
            x = x + self.dropout(self.cross_attention(self.cross_norm(x), state))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Nats a token in fp32, of `logits: (B, T, V)` for `targets: (B, T)` int64.

    "mean" over the targets that are not `IGNORE`, "sum", or "none": `(B, T)`, zero where ignored.
    """
    losses = F.cross_entropy(
        logits.float().flatten(0, -2), targets.flatten(), ignore_index=IGNORE, reduction=reduction
    )
    return losses.view(targets.shape) if reduction == "none" else losses


class HeadLoss(nn.Module):
    """Cross entropy of the logits `softcap(hidden W^T)`: `hidden: (B, T, C)`, `weight: (V, C)`."""

    def __init__(self, softcap: float | None) -> None:
        super().__init__()
        self.softcap = softcap

    def forward(self, hidden: Tensor, weight: Tensor, targets: Tensor, reduction: str) -> Tensor:
        return cross_entropy(self.logits(hidden, weight), targets, reduction)

    def logits(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """`(B, T, V)`; with a soft cap c, `c tanh(logits / c)`."""
        logits = F.linear(hidden, weight)
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


class Transformer(nn.Module):
    """A decoder (GPT-2, Llama) or, with `c.architecture = "encoder"`, an encoder (BERT).

    `model(ids: (B, T))` is `(logits (B, T, V), None)`; with `targets: (B, T)`, `(None, loss)`. Both
    take the arguments of `hidden_states`, too.
    """

    def __init__(self, c: GPTConfig) -> None:
        super().__init__()
        self.config = c
        self.attend: Callable[..., Tensor] = reference
        E = c.n_embd if c.n_token_embd is None else c.n_token_embd
        self.token_embedding = nn.Embedding(c.vocab_size, E)
        narrow = c.n_token_embd is not None  # E columns, projected to C (Lan et al. 2019)
        self.token_projection = nn.Linear(E, c.n_embd, bias=False) if narrow else None
        learned = c.position == "learned"
        self.position_embedding = nn.Embedding(c.block_size, c.n_embd) if learned else None
        self.tables = FixedTables(partial(position_tables, c))
        self.embedding_dropout = nn.Dropout(c.dropout) if c.dropout else nn.Identity()
        cross = c.architecture == "encoder-decoder"
        self.blocks = nn.ModuleList(Block(c, layer, cross=cross) for layer in range(c.n_layer))
        self.norm = make_norm(c)
        self.head = None if c.tied_head else nn.Linear(c.n_embd, c.vocab_size, bias=False)
        self.head_loss = HeadLoss(c.logit_softcap)
        initialise(self, c)

    def forward(
        self,
        ids: Tensor,
        targets: Tensor | None = None,
        *,
        reduction: str = "mean",
        last_only: bool = False,
        return_logits: bool = False,
        **inputs: Any,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The logits (`last_only`: of the last token, `(B, 1, V)`), or with `targets` the loss.

        `return_logits`: both.
        """
        hidden, weight = self.head_inputs(ids, **inputs)
        if targets is None:
            return self.head_loss.logits(hidden[:, -1:] if last_only else hidden, weight), None
        if targets.shape != ids.shape:
            raise ValueError(
                f"targets: expected the shape of ids, {tuple(ids.shape)}, "
                f"got {tuple(targets.shape)}"
            )
        if not return_logits:
            return None, self.head_loss(hidden, weight, targets, reduction)
        logits = self.head_loss.logits(hidden, weight)
        return logits, cross_entropy(logits, targets, reduction)

    def head_inputs(self, ids: Tensor, **inputs: Any) -> tuple[Tensor, Tensor]:
        """What the output layer multiplies: hidden states `(B, T, E)` and its weight `(V, E)`.

        A tied head is the embedding's own weight, so that a state dict names it once.
        """
        hidden = self.hidden_states(ids, **inputs)  # (B, T, C)
        if self.head is not None:
            return hidden, self.head.weight
        if self.token_projection is not None:  # back to E columns by the same matrix
            hidden = F.linear(hidden, self.token_projection.weight.T)
        return hidden, self.token_embedding.weight

    def hidden_states(
        self,
        ids: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """The last norm's output, `(B, T, C)`, for `ids: (B, T)`.

        `key_padding_mask: (B, T)`, True for real tokens. `cu_seqlens: (n + 1,)`: offsets, in the
        flattened ids, of documents that do not see each other. `cache`: `ids` continue what it
        holds and are added to it.
        """
        causal = self.config.architecture != "encoder"
        state = ForwardState(self.attend, Masks(causal, key_padding_mask, cu_seqlens), cache)
        return self.run(ids, self.blocks, self.norm, state)

    def run(
        self, ids: Tensor, blocks: nn.ModuleList, norm: nn.Module, state: ForwardState
    ) -> Tensor:
        """`ids: (B, T)` through embedding, blocks and norm: `(B, T, C)`."""
        c = self.config
        start, end = state.span(ids, c.block_size)
        x = self.token_embedding(ids)  # (B, T, E)
        x = x if self.token_projection is None else self.token_projection(x)  # (B, T, C)
        if c.scale_embedding:
            x = x * c.n_embd**0.5
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[start:end]
        elif c.position == "sinusoidal":
            x = x + self.tables["sinusoids"][start:end].to(x.dtype)
        state.locate(c.position, self.tables, start, end)
        x = self.embedding_dropout(x)
        for block in blocks:
            if c.activation_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, state, use_reentrant=False)
            else:
                x = block(x, state)
        if state.cache is not None:
            state.cache.length = end
        return norm(x)


class Seq2SeqTransformer(Transformer):
    """Encoder and decoder (Vaswani et al. 2017); both share the embeddings.

    `model(ids, targets, source=...)` is the loss of `targets` given the text `source: (B, S)`.
    """

    def __init__(self, c: GPTConfig) -> None:
        super().__init__(c)
        self.encoder_blocks = nn.ModuleList(Block(c, layer) for layer in range(c.encoder_layers))
        self.encoder_norm = make_norm(c)
        initialise(self.encoder_blocks, c)

    def hidden_states(
        self,
        ids: Tensor,
        *,
        source: Tensor | None = None,
        source_padding_mask: Tensor | None = None,
        memory: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """As `Transformer.hidden_states`, of the decoder; `cu_seqlens` is an error.

        `source_padding_mask: (B, S)`: True for real tokens. `memory`, from `encode`, instead of
        `source` saves encoding it again.
        """
        if cu_seqlens is not None:
            raise ValueError("an encoder-decoder takes a text a row: leave cu_seqlens out")
        if (source is None) == (memory is None):
            raise ValueError("give the encoder's text as source, or as memory from encode()")
        if source is not None:
            memory = self._encode(source, source_padding_mask)
        masks, seen = Masks(True, key_padding_mask), Masks(False, source_padding_mask)
        state = ForwardState(self.attend, masks, cache, memory=memory, memory_masks=seen)
        return self.run(ids, self.blocks, self.norm, state)

    def encode(self, source: Tensor, source_padding_mask: Tensor | None = None) -> Tensor:
        """The encoder's output, `(B, S, C)`, for `source: (B, S)`."""
        return self._encode(source, source_padding_mask)

    def _encode(self, source: Tensor, source_padding_mask: Tensor | None) -> Tensor:
        # Apart from `encode`, which FSDP wraps as a forward of its own: those do not nest.
        state = ForwardState(self.attend, Masks(False, source_padding_mask))
        return self.run(source, self.encoder_blocks, self.encoder_norm, state)
