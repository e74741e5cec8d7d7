"""The decoder: a GPT."""

from __future__ import annotations

from gptpy.model.cache import KVCache
from gptpy.model.transformer import Transformer


class GPT(Transformer):
    """Predicts the next token from those before it; see `Transformer` for the interface."""

    architectures = ("decoder",)

    def make_cache(self, batch: int, capacity: int | None = None) -> KVCache:
        """An empty cache for `batch` rows of at most `capacity` (default: `block_size`) tokens."""
        like = self.token_embedding.weight
        return KVCache.for_config(self.config, batch, capacity, like)
