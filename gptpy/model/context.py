"""What all layers of one forward pass share, worked out once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gptpy.model.attention import as_added, attention_bias
from gptpy.model.cache import KVCache


@dataclass
class Context:
    """Masks, rotations and cache of one forward pass; made by the model, read by its layers."""

    backend: str
    causal: bool = True
    rotation: tuple[Tensor, Tensor] | None = None
    """Cosines and sines of the tokens at hand, `(T, D / 2)` or `(B, T, D / 2)`."""
    alibi_slopes: Tensor | None = None
    key_padding_mask: Tensor | None = None
    cu_seqlens: Tensor | None = None
    cache: KVCache | None = None
    memory: Tensor | None = None
    """The encoder's output `(B, S, n_embd)`, for cross-attention."""
    memory_padding_mask: Tensor | None = None
    _biases: dict[int | None, Tensor | None] = field(default_factory=dict)

    def masks(self, queries: int, keys: int, window: int | None, like: Tensor) -> dict[str, Any]:
        """The arguments of `attention` that say who sees whom in a layer with this `window`.

        Kernels take every mask by itself and never build the matrix; the other back ends get one
        bias, made once for all layers with one window.
        """
        if self.backend != "triton":
            bias = self.bias(queries, keys, window, like)
            return {"causal": self.causal, "bias": bias}
        return {
            "causal": self.causal,
            "window": window,
            "alibi_slopes": self.alibi_slopes,
            "key_padding_mask": self.key_padding_mask,
            "cu_seqlens": self.cu_seqlens,
        }

    def bias(self, queries: int, keys: int, window: int | None, like: Tensor) -> Tensor | None:
        """The mask for a layer's window, or None where `causal` alone says it all."""
        if window is not None and window >= keys:
            window = None
        masks = (self.alibi_slopes, self.key_padding_mask, self.cu_seqlens, window)
        offset = queries not in (keys, 1)  # one query at the end sees every key
        plain = masks == (None,) * 4
        if self.backend == "dense":
            plain = plain and not self.causal
        elif plain:
            plain = not (self.causal and offset)
        if plain:
            return None
        if window not in self._biases:
            bias = attention_bias(
                queries,
                keys,
                batch=like.shape[0],
                causal=self.causal,
                window=window,
                alibi_slopes=self.alibi_slopes,
                key_padding_mask=self.key_padding_mask,
                cu_seqlens=self.cu_seqlens,
                device=like.device,
                dtype=like.dtype,
            )
            if self.backend == "dense" and bias is not None:
                bias = as_added(bias, like.dtype)
            self._biases[window] = bias
        return self._biases[window]
