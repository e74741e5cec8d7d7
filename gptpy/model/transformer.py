"""What all networks with attention share: embedding, blocks, norm, head."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.base import LanguageModel, check_ids
from gptpy.model.block import Block, run_block
from gptpy.model.cache import KVCache
from gptpy.model.context import Context
from gptpy.model.embedding import TokenEmbedding
from gptpy.model.initialise import initialise
from gptpy.model.loss import IGNORE, check_reduction, cross_entropy
from gptpy.model.norm import make_norm
from gptpy.model.position import alibi_slopes, rope_table, sinusoids
from gptpy.model.tables import FixedTables


class Transformer(LanguageModel):
    """`model(ids: (B, T) int64) -> (logits (B, T, vocab), None)` and
    `model(ids, targets: (B, T) int64) -> (None, loss)`: fp32 nats a token, targets of -100 ignored.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        c = config
        self.token_embedding = TokenEmbedding(c.vocab_size, c.n_embd)
        self.position_embedding = (
            nn.Embedding(c.block_size, c.n_embd) if c.position == "learned" else None
        )
        needed = c.position in ("rope", "sinusoidal", "alibi")
        self.tables = FixedTables(partial(_tables, c)) if needed else None
        self.embedding_dropout = nn.Dropout(c.dropout) if c.dropout else nn.Identity()
        cross = c.architecture == "encoder-decoder"
        self.blocks = nn.ModuleList(Block(c, layer, cross=cross) for layer in range(c.n_layer))
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
        return self.logits_or_loss(hidden, targets, reduction, last_only)

    def hidden_states(
        self,
        ids: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """What the head reads: `(B, T, n_embd)` after the last norm."""
        context = Context(
            backend=self.attention_backend,
            causal=self.config.architecture != "encoder",
            key_padding_mask=key_padding_mask,
            cu_seqlens=cu_seqlens,
            cache=cache,
        )
        return self.run(ids, self.blocks, self.norm, context)

    def run(self, ids: Tensor, blocks: nn.ModuleList, norm: nn.Module, context: Context) -> Tensor:
        """`(B, T)` ids through a stack of blocks: `(B, T, n_embd)`; the cache moves on."""
        check_ids(ids, self.config.block_size)
        cache = context.cache
        start = cache.length if cache is not None else 0
        end = start + ids.shape[1]
        if end > self.config.block_size:
            raise ValueError(
                f"{end} tokens with those in the cache are more than block_size = "
                f"{self.config.block_size}: start again from the last tokens"
            )
        x = self.embedding_dropout(self.embed(ids, slice(start, end), context))
        for block in blocks:
            x = run_block(block, x, context)
        if cache is not None:
            cache.length = end
        return norm(x)

    def embed(self, ids: Tensor, positions: slice, context: Context) -> Tensor:
        """`(B, T, n_embd)`: tokens, with positions where they are added; else into `context`."""
        x = self.token_embedding(ids)
        if self.config.scale_embedding:
            x = x * self.config.n_embd**0.5
        if self.position_embedding is not None:
            return x + self.position_embedding.weight[positions]
        if self.tables is not None:
            if self.config.position == "sinusoidal":
                return x + self.tables["sinusoids"][positions].to(x.dtype)
            if self.config.position == "rope":
                context.rotation = (self.tables["cos"][positions], self.tables["sin"][positions])
            else:
                context.alibi_slopes = self.tables["slopes"]
        return x

    def logits_or_loss(
        self, hidden: Tensor, targets: Tensor | None, reduction: str, last_only: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """`(logits, None)` without targets, `(None, loss)` with."""
        if targets is None:
            return self.logits(hidden[:, -1:] if last_only else hidden), None
        if targets.shape != hidden.shape[:2]:
            raise ValueError(
                f"targets: expected the shape of ids, {tuple(hidden.shape[:2])}, "
                f"got {tuple(targets.shape)}"
            )
        if "cross_entropy" in self.fusions:
            # A chunk of the logits at a time, in the type of the products, never all in fp32.
            from gptpy_kernels import linear_cross_entropy

            weight = self.token_embedding.weight if self.head is None else self.head.weight
            cap = self.config.logit_softcap
            return None, linear_cross_entropy(
                hidden, weight, targets, softcap=cap, ignore_index=IGNORE,
                reduction=check_reduction(reduction), backend="triton",
            )  # fmt: skip
        return None, cross_entropy(self.logits(hidden), targets, reduction)

    def logits(self, hidden: Tensor) -> Tensor:
        """`(..., n_embd)` to `(..., vocab_size)`."""
        if self.head is not None:
            logits = self.head(hidden)
        else:
            logits = nn.functional.linear(hidden, self.token_embedding.weight)
        cap = self.config.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)


def _tables(c: GPTConfig) -> dict[str, Tensor]:
    if c.position == "rope":
        cos, sin = rope_table(c.block_size, c.head_size, c.rope_theta)
        return {"cos": cos, "sin": sin}
    if c.position == "sinusoidal":
        return {"sinusoids": sinusoids(c.block_size, c.n_embd)}
    return {"slopes": alibi_slopes(c.n_head)}
