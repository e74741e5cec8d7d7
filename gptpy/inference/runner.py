"""A model with its cache of keys and values: computes logits for tokens of many sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.devices.selection import choose_dtype
from gptpy.inference.blocks import BlockPool
from gptpy.inference.decoding import make_decoder
from gptpy.inference.weights import prepare, resolved
from gptpy.model.paged import (
    Chunk,
    PagedKeysValues,
    PagedStep,
    memory_keys_values,
    paged_hidden_states,
)

ROW_FLOORS = (16, 32, 64)
CACHE_BYTES = 2**31
"""Most memory for keys and values where the caller does not say."""


class Runner:
    """The network in its number type, the cache and the pool of its blocks."""

    def __init__(
        self,
        model: Any,
        number_type: str | None = None,
        *,
        block_tokens: int = 16,
        cache_tokens: int | None = None,
        exact: bool = True,
    ) -> None:
        c: GPTConfig = model.config
        if c.architecture == "encoder":
            raise ConfigError(
                "an encoder sees both directions and cannot continue a text: "
                "take a run with architecture = 'decoder' or 'encoder-decoder'"
            )
        if block_tokens < 1 or block_tokens % 16:  # vectors of 16 numbers add up alike
            raise ConfigError(f"block_tokens: expected a multiple of 16, got {block_tokens}")
        self.config, self.block_tokens = c, block_tokens
        number_type = resolved(model, number_type)
        self.network, self.head = prepare(model, number_type)
        self.device: torch.device = self.network.device
        dtype: torch.dtype = self.network.dtype
        if number_type == "int8":
            dtype, _ = choose_dtype(self.device)
        self.token_bytes = 2 * c.n_layer * c.kv_heads * c.head_size * dtype.itemsize
        """Memory that the keys and values of one token take."""
        if cache_tokens is None:
            fits = CACHE_BYTES // max(self.token_bytes, 1)
            cache_tokens = max(c.block_size, min(64 * c.block_size, fits))
        blocks = cache_tokens // block_tokens
        if blocks < 1:
            raise ConfigError(
                f"cache_tokens: expected at least one block of {block_tokens}, got {cache_tokens}"
            )
        self.pool = BlockPool(blocks + 1)
        self.cache = PagedKeysValues(c, blocks + 1, block_tokens, device=self.device, dtype=dtype)
        self.decoder = make_decoder(self.network, self.head, self.cache)
        """Computes steps of single tokens, where kernels can."""
        possible = self.device.type == "cpu" and number_type == "float32" and not self.decoder
        floor = row_floor(self.network) if exact and possible else None
        self.exact = floor is not None
        """Whether a token's logits depend on its context alone, bit for bit. That costs time where
        fewer than `row_floor` tokens are computed at once."""
        self.row_floor = floor or 1

    @torch.inference_mode()
    def logits(self, chunks: Sequence[Chunk], wanted: Sequence[int]) -> Tensor:
        """Computes `chunks`; the logits, fp32, of the last `wanted[i]` tokens of each, stacked."""
        if self.decoder is not None and self.decoder.takes(chunks, wanted):
            return self.decoder.logits(chunks)
        step = PagedStep(self.config, self.cache, chunks, self.row_floor)
        ends = zip(step.offsets[1:], wanted, strict=True)
        rows = [row for end, count in ends for row in range(end - count, end)]
        if self.head is None:
            table: Tensor = self.network.token_embedding(step.ids)
            return table[rows].float()
        hidden = paged_hidden_states(self.network, step)
        if not rows:
            return hidden.new_empty((0, self.config.vocab_size), dtype=torch.float32)
        padding = [rows[-1]] * (self.row_floor - len(rows))
        if padding or len(rows) < len(hidden):
            hidden = hidden[rows + padding]
        return self.head(hidden)[: len(rows)]

    @torch.inference_mode()
    def memory_of(self, source: Sequence[int]) -> dict[int, tuple[Tensor, Tensor]]:
        """Keys and values of a source text, for the decoder's cross-attention."""
        ids = torch.tensor([list(source)], dtype=torch.int64, device=self.device)
        return memory_keys_values(self.network, ids)


@torch.inference_mode()
def row_floor(network: nn.Module) -> int | None:
    """The fewest rows from which the matrix library computes each row alike, or None.

    Tried, because libraries choose their method by the number of rows and say nothing about it.
    """
    generator = torch.Generator().manual_seed(0)
    weights = {
        tuple(module.weight.shape): module.weight
        for module in network.modules()
        if isinstance(module, (nn.Linear, nn.Embedding))  # a tied head is an embedding
    }
    for floor in ROW_FLOORS:
        if all(_rows_agree(weight, floor, generator) for weight in weights.values()):
            return floor
    return None


def _rows_agree(weight: Tensor, floor: int, generator: torch.Generator) -> bool:
    x = torch.randn(4 * floor + 1, weight.shape[1], generator=generator)
    expected = F.linear(x, weight)
    return all(
        torch.equal(F.linear(x[start:end], weight), expected[start:end])
        for start, end in ((0, floor), (3, floor + 4), (floor, 3 * floor + 1))
    )
