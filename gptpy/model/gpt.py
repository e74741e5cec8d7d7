"""The decoder: a GPT."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gptpy.config.model import GPTConfig
from gptpy.model.base import LanguageModel, check_ids
from gptpy.model.block import Block
from gptpy.model.cache import KVCache
from gptpy.model.context import Context
from gptpy.model.initialise import initialise
from gptpy.model.loss import cross_entropy
from gptpy.model.norm import make_norm
from gptpy.model.position import alibi_slopes, rope_table, sinusoids
from gptpy.model.tables import FixedTables


class GPT(LanguageModel):
    """Embedding, blocks, norm, head.

    `model(ids: (B, T) int64) -> (logits (B, T, vocab), None)` and
    `model(ids, targets: (B, T) int64) -> (None, loss)`: fp32 nats a token, targets of -100 ignored.
    """

    architectures = ("decoder",)

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        c = config
        self.token_embedding = nn.Embedding(c.vocab_size, c.n_embd)
        self.position_embedding = (
            nn.Embedding(c.block_size, c.n_embd) if c.position == "learned" else None
        )
        self.tables = FixedTables(partial(_tables, c)) if _tables_needed(c) else None
        self.embedding_dropout = nn.Dropout(c.dropout) if c.dropout else nn.Identity()
        self.blocks = nn.ModuleList(Block(c, layer) for layer in range(c.n_layer))
        self.norm = make_norm(c)
        # Tied: the embedding's weight is used directly, so that a state dict names it once.
        self.head = None if c.tied_head else nn.Linear(c.n_embd, c.vocab_size, bias=False)
        initialise(self, c)

    def forward(
        self,
        ids: Tensor,
        targets: Tensor | None = None,
        *,
        reduction: str = "mean",
        key_padding_mask: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        cache: KVCache | None = None,
        last_only: bool = False,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Logits, or the loss where `targets` are given.

        `key_padding_mask: (B, T)` bool, True for real tokens. `cu_seqlens: (n + 1,)` offsets of
        documents in the flattened tokens: they do not see each other. `cache`: `ids` continue
        what it holds, and are added to it. `last_only`: logits of the last token, `(B, 1, vocab)`.
        """
        hidden = self.hidden_states(
            ids, key_padding_mask=key_padding_mask, cu_seqlens=cu_seqlens, cache=cache
        )
        if targets is None:
            return self.logits(hidden[:, -1:] if last_only else hidden), None
        if targets.shape != ids.shape:
            raise ValueError(
                f"targets: expected the shape of ids, {tuple(ids.shape)}, "
                f"got {tuple(targets.shape)}"
            )
        return None, cross_entropy(self.logits(hidden), targets, reduction)

    def hidden_states(
        self,
        ids: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """What the head reads: `(B, T, n_embd)` after the last norm."""
        check_ids(ids, self.config.block_size)
        start = cache.length if cache is not None else 0
        end = start + ids.shape[1]
        if end > self.config.block_size:
            raise ValueError(
                f"{end} tokens with those in the cache are more than block_size = "
                f"{self.config.block_size}: start again from the last tokens"
            )
        context = Context(
            backend=self.attention_backend,
            causal=self.config.architecture == "decoder",
            key_padding_mask=key_padding_mask,
            cu_seqlens=cu_seqlens,
            cache=cache,
        )
        x = self.token_embedding(ids)
        positions = slice(start, end)
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[positions]
        if self.tables is None:
            pass
        elif self.config.position == "sinusoidal":
            x = x + self.tables["sinusoids"][positions].to(x.dtype)
        elif self.config.position == "rope":
            context.rotation = (self.tables["cos"][positions], self.tables["sin"][positions])
        elif self.config.position == "alibi":
            context.alibi_slopes = self.tables["slopes"]
        x = self.embedding_dropout(x)
        for block in self.blocks:
            if self.config.activation_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, context, use_reentrant=False)
            else:
                x = block(x, context)
        if cache is not None:
            cache.length = end
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """`(..., n_embd)` to `(..., vocab_size)`."""
        if self.head is not None:
            logits = self.head(hidden)
        else:
            logits = nn.functional.linear(hidden, self.token_embedding.weight)
        cap = self.config.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def make_cache(self, batch: int, capacity: int | None = None) -> KVCache:
        """An empty cache for `batch` rows of at most `capacity` (default: `block_size`) tokens."""
        c = self.config
        return KVCache(
            c.n_layer,
            batch,
            c.block_size if capacity is None else capacity,
            c.kv_heads,
            c.head_size,
            device=self.device,
            dtype=self.dtype,
        )


def _tables_needed(c: GPTConfig) -> bool:
    return c.position in ("rope", "sinusoidal", "alibi")


def _tables(c: GPTConfig) -> dict[str, Tensor]:
    if c.position == "rope":
        cos, sin = rope_table(c.block_size, c.head_size, c.rope_theta)
        return {"cos": cos, "sin": sin}
    if c.position == "sinusoidal":
        return {"sinusoids": sinusoids(c.block_size, c.n_embd)}
    return {"slopes": alibi_slopes(c.n_head)}
