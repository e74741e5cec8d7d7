"""Keys and values of tokens already seen, so that generation computes each token once."""

from __future__ import annotations

import torch
from torch import Tensor

from gptpy.config.model import GPTConfig


class KVCache:
    """`(n_layer, B, capacity, H_kv, D)` keys and as many values, filled from the left.

    Every layer appends to its own part; then the model moves `length` on.
    """

    def __init__(
        self,
        n_layer: int,
        batch: int,
        capacity: int,
        kv_heads: int,
        head_dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (n_layer, batch, capacity, kv_heads, head_dim)
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.memory: dict[int, tuple[Tensor, Tensor]] = {}
        """Keys and values of an encoder's output by layer, `(B, S, H_kv, D)` each."""
        self.capacity = capacity
        self.length = 0
        """Tokens stored in every layer."""

    @classmethod
    def for_config(
        cls,
        config: GPTConfig,
        batch: int,
        capacity: int | None,
        like: Tensor,
    ) -> KVCache:
        """A cache for a network of this shape, with the number type and device of `like`.

        `capacity` None: the network's `block_size`.
        """
        capacity = config.block_size if capacity is None else capacity
        shape = (config.n_layer, batch, capacity, config.kv_heads, config.head_size)
        return cls(*shape, device=like.device, dtype=like.dtype)

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Stores `(B, T, H_kv, D)` after the others; returns all, views `(B, length + T, H_kv, D)`.

        Raises `ValueError` beyond `capacity`.
        """
        end = self.length + k.shape[1]
        if end > self.capacity:
            raise ValueError(
                f"cache of {self.capacity} tokens cannot take {k.shape[1]} more after "
                f"{self.length}: make a larger one, or start again from the last tokens"
            )
        if k.dtype != self.keys.dtype:  # under autocast: not the weights' type
            self.keys, self.values = self.keys.to(k.dtype), self.values.to(k.dtype)
        self.keys[layer, :, self.length : end] = k
        self.values[layer, :, self.length : end] = v
        return self.keys[layer, :, :end], self.values[layer, :, :end]
