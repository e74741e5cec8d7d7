"""A model with its cache of keys and values: computes logits for tokens of many sequences."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.devices.selection import choose_dtype
from gptpy.inference.blocks import BlockPool
from gptpy.inference.decoding import make_decoder
from gptpy.inference.weights import PackedLinear, prepare, resolved
from gptpy.model.paged import (
    SPAN,
    Chunk,
    PagedKeysValues,
    PagedStep,
    memory_keys_values,
    paged_hidden_states,
)

ROW_FLOORS = (1, 2, 16, 32, 64)
QUERY_FLOORS = (16, 32, 64)
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
        exact = exact and model.device.type == "cpu" and number_type == "float32"
        self.network, self.head = prepare(model, number_type, exact=exact)
        self.device: torch.device = self.network.device
        dtype = cache_type(self.network.dtype, number_type, self.device)
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
        floors = None
        if exact and self.decoder is None:
            if self.head is None:  # a bigram's logits are rows of a table
                floors = (1, 1)
            else:
                floors = row_floors(self.network, self.head, c.head_size)
        self.exact = floors is not None
        """Whether a token's logits depend on its context alone, bit for bit. That costs time where
        few tokens are computed at once."""
        self.row_floor, self.query_floor = floors or (1, 1)
        """The fewest rows of a product with weights, and of one of queries with keys."""

    @torch.inference_mode()
    def logits(self, chunks: Sequence[Chunk], wanted: Sequence[int]) -> Tensor:
        """Computes `chunks`; the logits, fp32, of the last `wanted[i]` tokens of each, stacked."""
        if self.decoder is not None and self.decoder.takes(chunks, wanted):
            return self.decoder.logits(chunks)
        step = PagedStep(self.config, self.cache, chunks, self.row_floor, self.query_floor)
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


def cache_type(between: torch.dtype, number_type: str, device: torch.device) -> torch.dtype:
    """The type of keys and values for layers that compute in `number_type`."""
    if device.type == "cpu" and not attends_in_bfloat16():
        return torch.float32
    return choose_dtype(device)[0] if number_type == "int8" else between


@functools.cache
def attends_in_bfloat16() -> bool:
    """Whether attention of few queries is quick in bfloat16: torch's asks MKL, whose products of
    bfloat16 are quick on its maker's processors only."""
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        about = platform.processor()
    return "GenuineIntel" in about


@torch.inference_mode()
def row_floors(network: nn.Module, head: nn.Module, head_size: int) -> tuple[int, int] | None:
    """The fewest rows, of a product with weights and of one in attention, from which the libraries
    compute each row alike; None if they never do.

    Tried, because libraries choose their method by the number of rows and say nothing about it.
    """
    layers = [m for name, m in network.named_modules() if name != "head"] + list(head.modules())
    shapes: dict[tuple[int, int], Any] = {
        (m.out_features, m.in_features): m
        for m in layers
        if isinstance(m, (nn.Linear, PackedLinear))
    }
    draw = torch.Generator().manual_seed(0)

    def layer_agrees(layer: Any, floor: int) -> bool:
        rows = torch.randn(_tried(floor), layer.in_features, generator=draw)
        return _rows_agree(layer, rows, floor)

    def attention_agrees(keys: int, floor: int) -> bool:
        q, k = (torch.randn(2, n, head_size, generator=draw) for n in (_tried(floor), keys))
        weights = torch.softmax(q @ k.mT, -1)
        scores = _rows_agree(lambda rows: torch.bmm(rows, k.mT), q, floor)
        return scores and _rows_agree(lambda rows: torch.bmm(rows, k), weights, floor)

    found = (
        _first_floor(layer_agrees, shapes.values(), ROW_FLOORS),
        _first_floor(attention_agrees, (16, 80, SPAN), QUERY_FLOORS),
    )
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _first_floor(
    agrees: Callable[[Any, int], bool], cases: Collection[Any], floors: Sequence[int]
) -> int | None:
    return next((floor for floor in floors if all(agrees(case, floor) for case in cases)), None)


def _tried(floor: int) -> int:
    """Rows of a trial."""
    return max(132, 4 * floor + 1)


def _rows_agree(product: Callable[[Tensor], Tensor], rows: Tensor, floor: int) -> bool:
    """Whether parts of `rows: (..., N, C)` give the bits that all of them together give."""
    expected = product(rows)
    counts = {floor, floor + 1, floor + 4, 16, 33, 129, 2 * floor + 1}
    return all(
        torch.equal(product(rows[..., at : at + count, :]), expected[..., at : at + count, :])
        for count in sorted(counts)
        if count >= floor
        for at in (0, 3)
    )
