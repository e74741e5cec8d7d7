"""A pass with one new token for each of several sequences, in shapes that do not change.

A recorded graph repeats its work on the same memory. So all that differs between two passes is in
one tensor of integers, `fill` writes it, and nothing else depends on the sequences: neither shapes
nor decisions. Attention is one call of the paged kernel, which reads keys and values where they
are. Rows without a sequence compute a token of the scratch block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gptpy.config.model import GPTConfig
from gptpy.model.attention.reference import Masks
from gptpy.model.paged_cache import Chunk, PagedKeysValues


class DecodeStep:
    """What the layers of one pass share, as `PagedStep`, for `rows` tokens.

    `fill` before a pass; `read` is its first part, and of a graph, too.
    """

    ids: Tensor
    positions: Tensor
    slots: Tensor

    def __init__(self, c: GPTConfig, cache: PagedKeysValues, rows: int) -> None:
        self.config, self.cache, self.rows = c, cache, rows
        self.device = cache.keys.device
        self.width = table_width(c, cache.block_tokens)
        column = -(-rows // 4) * 4  # the kernel is compiled for pointers to multiples of 16 bytes
        # Ids, positions, slots and lengths, then the blocks of every row.
        self._host = np.zeros(4 * column + rows * self.width, dtype=np.int32)
        self._inputs = torch.zeros(len(self._host), dtype=torch.int32, device=self.device)
        self._vectors = self._host[: 4 * column].reshape(4, column)[:, :rows]
        self._table = self._host[4 * column :].reshape(rows, self.width)
        self._numbers = self._inputs[: 4 * column].view(4, column)[:3, :rows]
        self.lengths = self._inputs[3 * column :][:rows]
        """`(rows,)`: keys that each token sees, its own included."""
        self.table = self._inputs[4 * column :].view(rows, self.width)
        """`(rows, width)`: their blocks."""
        # Where positions may exceed the model's tables, the layers compute rotations instead.
        self.last_position = c.block_size if goes_beyond(c) else 0
        self.layer = 0
        self.masks, self.memory_masks = Masks(), Masks(causal=False)

    def fill(self, chunks: Sequence[Chunk]) -> None:
        """The next pass computes `chunks`, of one token each, at most `rows`."""
        size, n = self.cache.block_tokens, len(chunks)
        ids, positions, slots, lengths = self._vectors
        for row, chunk in enumerate(chunks):
            place = chunk.start - chunk.first * size  # among the keys that are kept
            self._table[row, : len(chunk.blocks)] = chunk.blocks
            ids[row], positions[row] = chunk.ids[0], chunk.start
            slots[row] = chunk.blocks[place // size] * size + place % size
            lengths[row] = place + 1
        self._vectors[:3, n:], lengths[n:] = 0, 1
        self._table[n:, 0] = 0
        self._inputs.copy_(torch.from_numpy(self._host))

    def read(self) -> None:
        """Widens what indexes other tensors."""
        self.ids, self.positions, self.slots = self._numbers.long().unbind()

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Stores `(1, rows, H_kv, D)` in the sequences' blocks, as `KVCache.append` does."""
        self.layer = layer
        self.cache.store(layer, self.slots, k, v)
        return k, v

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        masks: Masks,
        window: int | None = None,
        softcap: float | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """The results for `q: (1, rows, H, D)`; keys and values are read from the blocks."""
        from gptpy_kernels import attention_with_kv_cache

        keys, values = self.cache.keys[self.layer], self.cache.values[self.layer]
        out: Any = attention_with_kv_cache(
            q.transpose(0, 1).to(keys.dtype),
            keys.permute(1, 2, 0, 3),  # (n_blocks, block_tokens, H_kv, D)
            values.permute(1, 2, 0, 3),
            self.lengths,
            block_table=self.table,
            window=window,
            softcap=softcap,
            alibi_slopes=masks.alibi_slopes,
            backend="triton",
        )
        return out.transpose(0, 1).to(q.dtype)


def goes_beyond(c: GPTConfig) -> bool:
    """Whether positions may exceed `block_size`: a text that rolls through its windows."""
    return c.window is not None and c.position in ("rope", "alibi", "none")


def table_width(c: GPTConfig, block_tokens: int) -> int:
    """The most blocks that one sequence holds; a window may begin and end within a block."""
    return -(-c.block_size // block_tokens) + 1


def is_decoding(c: GPTConfig, chunks: Sequence[Chunk], block_tokens: int) -> bool:
    """Whether a `DecodeStep` can compute `chunks`: one token each, behind a context that fits."""
    most = table_width(c, block_tokens)
    return all(
        len(chunk.ids) == 1
        and chunk.memory is None
        and 0 < len(chunk.blocks) <= most
        and (chunk.start < c.block_size or goes_beyond(c))
        for chunk in chunks
    )
