"""Keys and values in blocks of tokens, and what a pass adds to one sequence's."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gptpy.config.model import GPTConfig


class PagedKeysValues:
    """Keys and values, `(n_layer, H_kv, n_blocks, block_tokens, D)` each; block 0 is scratch.

    On a CPU memory is taken when a block is first written.
    """

    def __init__(
        self,
        c: GPTConfig,
        n_blocks: int,
        block_tokens: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.block_tokens, self.n_blocks = block_tokens, n_blocks
        shape = (c.n_layer, 2, c.kv_heads, n_blocks, block_tokens, c.head_size)
        # Zeros, because what is masked is multiplied by zero and must be finite.
        both = _zeros(shape, torch.device(device), dtype)
        self.keys, self.values = both.unbind(1)
        # Views, made once, by layer as (H_kv, n_blocks * block_tokens, D), and of both together
        self.by_token = [tuple(layer.flatten(2, 3)) for layer in both]
        self.both_by_token = [layer.flatten(2, 3).flatten(0, 1) for layer in both]

    def store(self, layer: int, slots: Tensor, k: Tensor, v: Tensor) -> None:
        """Writes `(1, N, H_kv, D)` to places `(N,)`: number of block x `block_tokens` + token."""
        for pool, new in zip(self.by_token[layer], (k, v), strict=True):
            by_head = new[0].transpose(0, 1)
            if by_head.dtype != pool.dtype:
                by_head = by_head.to(pool.dtype)
            pool.index_copy_(1, slots, by_head)

    def side_by_side(self, begin: int, end: int) -> list[tuple[Tensor, Tensor]]:
        """Tokens `begin` to `end` of the pool: keys and values of each layer, `(1, H_kv, S, D)`."""
        pools = (self.keys, self.values)
        both = (
            pool.flatten(2, 3)[:, None].narrow(3, begin, end - begin).unbind(0) for pool in pools
        )
        return list(zip(*both, strict=True))

    def zero(self, blocks: Sequence[int]) -> None:
        """Clears blocks that may hold numbers which are not finite."""
        if blocks:
            index = torch.tensor(list(blocks), device=self.keys.device)
            self.keys.index_fill_(2, index, 0)
            self.values.index_fill_(2, index, 0)

    def copy(self, source: int, target: int) -> None:
        """Copies a block."""
        self.keys[:, :, target] = self.keys[:, :, source]
        self.values[:, :, target] = self.values[:, :, source]


def _zeros(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    if device.type != "cpu" or not math.prod(shape):
        return torch.zeros(shape, device=device, dtype=dtype)
    # The system gives zeroed pages when they are first written. Large pages would be cleared whole
    # for the first few tokens of every head.
    memory = mmap.mmap(-1, math.prod(shape) * torch.empty((), dtype=dtype).element_size())
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


@dataclass
class Chunk:
    """New tokens of one sequence."""

    ids: Sequence[int]
    start: int
    """Position of the first."""
    blocks: Sequence[int] = ()
    """The blocks of positions from `first * block_tokens` on, up to the last new token's."""
    first: int = 0
    """Leading blocks that the sequence no longer needs."""
    memory: dict[int, tuple[Tensor, Tensor]] | None = None
    """Keys and values of its encoder's output by layer, `(H_kv, S, D)` each."""

    @property
    def end(self) -> int:
        return self.start + len(self.ids)
