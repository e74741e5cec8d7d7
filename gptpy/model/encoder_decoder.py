"""Encoder and decoder with cross-attention: one text in, another out."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.block import Block
from gptpy.model.cache import KVCache
from gptpy.model.context import Context
from gptpy.model.initialise import initialise
from gptpy.model.norm import make_norm
from gptpy.model.sampling import generate
from gptpy.model.transformer import Transformer


class EncoderDecoder(Transformer):
    """`model(ids, targets, source=source_ids)`: the loss of `targets` given the source's text.

    Both sides share the embeddings; everything else is as in `Transformer`.
    """

    architectures = ("encoder-decoder",)

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.encoder_blocks = nn.ModuleList(
            Block(config, layer) for layer in range(config.encoder_layers)
        )
        self.encoder_norm = make_norm(config)
        initialise(self.encoder_blocks, config)

    def forward(
        self,
        ids: Tensor,
        targets: Tensor | None = None,
        *,
        source: Tensor | None = None,
        source_padding_mask: Tensor | None = None,
        memory: Tensor | None = None,
        reduction: str = "mean",
        key_padding_mask: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        cache: KVCache | None = None,
        last_only: bool = False,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Logits, or the loss where `targets: (B, T)` are given, of `ids: (B, T)`.

        `source: (B, S)` is what the encoder reads, `source_padding_mask: (B, S)` is True where it
        is real. `memory`, from `encode`, instead of `source` saves encoding it again.
        """
        if cu_seqlens is not None:
            raise ValueError("an encoder-decoder takes a text a row: leave cu_seqlens out")
        if (source is None) == (memory is None):
            raise ValueError("give the encoder's text as source, or as memory from encode()")
        if source is not None:
            memory = self._encode(source, source_padding_mask)
        context = Context(
            backend=self.attention_backend,
            causal=True,
            key_padding_mask=key_padding_mask,
            cache=cache,
            memory=memory,
            memory_padding_mask=source_padding_mask,
        )
        hidden = self.run(ids, self.blocks, self.norm, context)
        return self.logits_or_loss(hidden, targets, reduction, last_only)

    def encode(self, source: Tensor, source_padding_mask: Tensor | None = None) -> Tensor:
        """The encoder's output, `(B, S, n_embd)`, for `source: (B, S)`."""
        return self._encode(source, source_padding_mask)

    def _encode(self, source: Tensor, source_padding_mask: Tensor | None) -> Tensor:
        # Apart from `encode`, which sharding wraps as a forward of its own: those do not nest
        context = Context(
            backend=self.attention_backend, causal=False, key_padding_mask=source_padding_mask
        )
        return self.run(source, self.encoder_blocks, self.encoder_norm, context)

    def make_cache(self, batch: int, capacity: int | None = None) -> KVCache:
        """An empty cache for `batch` rows of at most `capacity` (default: `block_size`) tokens."""
        like = self.token_embedding.weight
        return KVCache.for_config(self.config, batch, capacity, like)

    def generate(
        self,
        ids: Tensor,
        max_new_tokens: int,
        *,
        source: Tensor | None = None,
        source_padding_mask: Tensor | None = None,
        **settings: Any,
    ) -> Tensor:
        """`ids: (B, T)` continued for `source: (B, S)`; the settings are those of `sampling`."""
        if source is None:
            raise ValueError("an encoder-decoder generates for a text: pass source=(B, S) ids")
        training = self.training
        memory = self.eval().encode(source, source_padding_mask)
        self.train(training)
        inputs = {"memory": memory, "source_padding_mask": source_padding_mask}
        return generate(self, ids, max_new_tokens, inputs=inputs, **settings)
