"""One forward pass for many sequences at once, with keys and values in blocks of tokens.

The new tokens of all sequences stand in one row, `(1, N)`, so that every linear layer is one
product. Only attention tells sequences apart: each looks into its own blocks. The layers are those
of `transformer.py`, called with a `PagedStep` where they expect a cache and a back end.

On a CPU in fp32 a token's result depends on its own context alone, bit for bit, not on what else is
computed in the pass, if every product with weights has at least `row_floor` rows and every one in
attention `query_floor`: the libraries then add up each row in one fixed order. For the same reason
sums over keys are split at fixed places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gptpy.config.model import GPTConfig
from gptpy.model.attention.reference import Masks
from gptpy.model.paged_cache import Chunk, PagedKeysValues
from gptpy.model.transformer import ForwardState

DIRECT_BYTES = 1 << 17
"""Keys and values of a text in a layer from which on single queries read them where they are, one
text at a time; smaller ones are collected and attended to in one product."""
QUERIES = 128
"""Most queries of one sequence that attention takes at once: bounds the matrix of scores."""
SPAN = 256
"""Keys that one product with the values sums over. Libraries split longer sums (MKL from 385 on)
into parts that depend on the length."""


@dataclass
class _Group:
    """Queries `(B, T)` that attend in one batched product, and the blocks that they see."""

    rows: Tensor
    """`(B * T,)`: which tokens of the pass they are."""
    shape: tuple[int, int]
    positions: Tensor
    """`(B, T)`"""
    blocks: Tensor | slice
    """`(B * n,)`, or a slice where `B == 1` and they lie side by side."""
    key_positions: Tensor
    """`(B, S)`"""
    offset: int
    """How far behind a multiple of `SPAN` the first key is."""
    memory: dict[int, tuple[Tensor, Tensor]] | None
    biases: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)


@dataclass
class _Direct:
    """Queries of one text whose keys lie side by side, `begin` to `end` in the cache."""

    row: int
    count: int
    begin: int
    end: int
    views: dict[int, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)
    """By the first key: keys and values `(1, H_kv, S, D)` of each layer."""


class PagedStep:
    """What the layers of one pass share: cache (`append`) and attention back end (`attend`)."""

    def __init__(
        self,
        c: GPTConfig,
        cache: PagedKeysValues,
        chunks: Sequence[Chunk],
        row_floor: int = 1,
        query_floor: int = 1,
    ) -> None:
        self.config, self.cache, self.query_floor = c, cache, query_floor
        self.device = cache.keys.device
        size = cache.block_tokens
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        self.offsets = [0]
        """Where in the pass the tokens of each chunk begin; the last entry is their number."""
        for chunk in chunks:
            ids.extend(chunk.ids)
            positions.extend(range(chunk.start, chunk.end))
            if chunk.blocks:
                slots.extend(
                    chunk.blocks[p // size - chunk.first] * size + p % size
                    for p in range(chunk.start, chunk.end)
                )
            self.offsets.append(len(ids))
        padding = [0] * max(0, row_floor - len(ids))
        self.ids = self._tensor(ids + padding)
        self.positions = self._tensor(positions + padding)
        self.slots = self._tensor(slots + padding)
        self.last_position = max(positions)
        self.layer = 0
        self.masks = Masks()
        self.memory_masks = Masks(causal=False)
        self.memory: dict[int, Any] = dict.fromkeys(range(c.n_layer), (None, None))
        self.direct: list[_Direct] = []
        self.groups = self._make_groups(chunks) if c.n_layer else []
        self.order = self._order(len(ids) + len(padding))

    def _tensor(self, numbers: Any) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=self.device)

    def _make_groups(self, chunks: Sequence[Chunk]) -> list[_Group]:
        """Single tokens of sequences of similar length together, longer chunks in parts alone."""
        groups, short = [], []
        for number, chunk in enumerate(chunks):
            if self._lies_side_by_side(chunk, len(chunks)):
                begin = (chunk.blocks[0] - chunk.first) * self.cache.block_tokens
                found = _Direct(self.offsets[number], len(chunk.ids), begin, begin + chunk.end)
                self.direct.append(found)
                continue
            if len(chunk.ids) == 1 and chunk.memory is None:
                short.append((self._offset(chunk), len(chunk.blocks), number))
                continue
            for start in range(0, len(chunk.ids), QUERIES):
                length = min(QUERIES, len(chunk.ids) - start)
                groups.append(self._make_group([(number, chunk)], start, length))
        short.sort()
        while short:
            offset, blocks, _ = short[0]
            members = [
                (number, chunks[number])
                for other, count, number in short
                if other == offset and count <= max(2 * blocks, 4)
            ]
            groups.append(self._make_group(members, 0, 1))
            short = short[len(members) :]
        return groups

    def _lies_side_by_side(self, chunk: Chunk, texts: int) -> bool:
        """Whether torch's attention can read the chunk's keys where they are, without a mask.

        So it is for a single query, and for a text from its beginning on; rounding differs from
        the exact product's.
        """
        c, blocks = self.config, chunk.blocks
        if self.query_floor > 1 or c.attention_softcap is not None or c.position == "alibi":
            return False
        if chunk.memory is not None or not blocks or blocks[-1] - blocks[0] + 1 != len(blocks):
            return False
        if chunk.first and (c.window is None or c.full_attention_every):
            return False  # a layer that looks at all of them would read what is not there
        if len(chunk.ids) > 1:
            usable = chunk.start == 0 and c.window is None
        else:
            size = 2 * c.kv_heads * c.head_size * self.cache.keys.element_size()
            usable = texts == 1 or len(blocks) * self.cache.block_tokens * size >= DIRECT_BYTES
        return usable and all(b - a == 1 for a, b in pairwise(blocks))

    def _offset(self, chunk: Chunk) -> int:
        return chunk.first * self.cache.block_tokens % SPAN

    def _make_group(self, members: list[tuple[int, Chunk]], start: int, length: int) -> _Group:
        """Tokens `start` to `start + length` of each member; queries are padded by repetition."""
        c, size = self.config, self.cache.block_tokens
        padded = max(length, -(-self.query_floor * c.kv_heads // c.n_head))
        columns = torch.arange(padded, device=self.device).clamp_(max=length - 1) + start
        rows = self._tensor([self.offsets[number] for number, _ in members])[:, None] + columns
        positions = self._tensor([chunk.start for _, chunk in members])[:, None] + columns
        needed = [-(-(chunk.start + start + length) // size) - chunk.first for _, chunk in members]
        width = max(needed)
        table = [
            [*chunk.blocks[:n], *([0] * (width - n))]
            for n, (_, chunk) in zip(needed, members, strict=True)
        ]
        blocks: Tensor | slice
        run = table[0]
        if len(table) == 1 and run == list(range(run[0], run[0] + width)):
            blocks = slice(run[0], run[0] + width)
        else:
            blocks = self._tensor(table).flatten()
        first = self._tensor([chunk.first * size for _, chunk in members])[:, None]
        keys = first + torch.arange(width * size, device=self.device)
        shape = (len(members), padded)
        offset, memory = self._offset(members[0][1]), members[0][1].memory
        return _Group(rows.flatten(), shape, positions, blocks, keys, offset, memory)

    def _order(self, n: int) -> Tensor | None:
        """For each token of the pass its place among the results of all groups."""
        if self.direct:
            # A group's padding repeats rows: what it finds for them is equal.
            return None
        if not self.groups:
            return None
        rows = torch.cat([group.rows for group in self.groups])
        if len(rows) == n and bool((rows == torch.arange(n, device=self.device)).all()):
            return None
        order = torch.zeros(n, dtype=torch.int64, device=self.device)
        # Repeated queries have equal results: it does not matter which of them is found.
        order[rows] = torch.arange(len(rows), device=self.device)
        return order

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Stores `(1, N, H_kv, D)` in the sequences' blocks, as `KVCache.append` does."""
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
        """The results for `q: (1, N, H, D)`; keys and values are read from the blocks."""
        cross = masks is self.memory_masks
        found = [self._attend_group(group, q, window, softcap, cross) for group in self.groups]
        if not self.direct:
            out = found[0] if len(found) == 1 else torch.cat(found)
            return (out if self.order is None else out.index_select(0, self.order))[None]
        by_head = q.transpose(1, 2)  # (1, H, N, D)
        if len(self.direct) == 1 and not found:
            return self._attend_directly(self.direct[0], by_head, window).transpose(1, 2)
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        for group, result in zip(self.groups, found, strict=True):
            out[0].index_copy_(0, group.rows, result)
        for one in self.direct:
            rows = by_head[:, :, one.row : one.row + one.count]
            result = self._attend_directly(one, rows, window).transpose(1, 2)
            out[:, one.row : one.row + one.count] = result
        return out

    @property
    def attend_heads(self) -> Callable[..., Tensor] | None:
        """`append` and `attend` at once, where the pass is of one text that lies side by side."""
        return self._attend_heads if len(self.direct) == 1 and not self.groups else None

    def _attend_heads(self, layer: int, heads: Tensor, H: int, window: int | None) -> Tensor:
        """The results `(N, H, D)` for queries, keys and values `heads: (N, H + 2 H_kv, D)`."""
        self.layer, pool, one = layer, self.cache.both_by_token[layer], self.direct[0]
        by_head = heads if heads.dtype == pool.dtype else heads.to(pool.dtype)
        by_head = by_head.transpose(0, 1)
        pool.narrow(1, one.end - one.count, one.count).copy_(by_head[H:])
        out = self._attend_directly(one, by_head[None, :H], window)[0].transpose(0, 1)
        return out if out.dtype == heads.dtype else out.to(heads.dtype)

    def _attend_group(
        self, group: _Group, q: Tensor, window: int | None, softcap: float | None, cross: bool
    ) -> Tensor:
        """`(B * T, H, D)`"""
        (B, T), (H, D) = group.shape, q.shape[2:]
        rows = q[0].index_select(0, group.rows).view(B, T, H, D)
        keys, values = self._keys_values(group, cross)  # (H_kv, B, S, D)
        exact = softcap is not None or keys.dtype == torch.float32
        bias_type = torch.float32 if exact else keys.dtype
        bias = None if cross else self._bias(group, window, bias_type)
        if exact:
            result = _exact(rows, keys, values, bias, softcap, 0 if cross else group.offset)
        else:
            result = _fused(rows, keys, values, bias)
        return result.reshape(B * T, H, D).to(q.dtype)

    def _attend_directly(self, one: _Direct, q: Tensor, window: int | None) -> Tensor:
        """`(1, H, count, D)` for `q` of the same shape."""
        begin = one.begin if window is None else max(one.begin, one.end - window)
        if begin not in one.views:
            one.views[begin] = self.cache.side_by_side(begin, one.end)
        keys, values = one.views[begin][self.layer]
        out = F.scaled_dot_product_attention(
            q if q.dtype == keys.dtype else q.to(keys.dtype),
            keys,
            values,
            is_causal=one.count > 1,
            enable_gqa=q.shape[1] != keys.shape[1],
        )
        return out if out.dtype == q.dtype else out.to(q.dtype)

    def _keys_values(self, group: _Group, cross: bool) -> tuple[Tensor, Tensor]:
        """`(H_kv, B, S, D)` each, of the present layer."""
        if cross:
            assert group.memory is not None
            keys, values = group.memory[self.layer]
            return keys[:, None], values[:, None]
        keys, values = self.cache.keys[self.layer], self.cache.values[self.layer]
        if isinstance(group.blocks, slice):
            keys, values = keys[:, group.blocks], values[:, group.blocks]
        else:
            keys, values = (x.index_select(1, group.blocks) for x in (keys, values))
        shape = (keys.shape[0], *group.key_positions.shape, keys.shape[-1])
        return keys.view(shape), values.view(shape)

    def _bias(self, group: _Group, window: int | None, dtype: torch.dtype) -> Tensor:
        """What is added to the scores: `(B, 1 or H, T, S)`, `-inf` where a key is not seen."""
        if (window, dtype) not in group.biases:
            distance = group.positions[:, :, None] - group.key_positions[:, None, :]  # (B, T, S)
            unseen = distance < 0
            if window is not None:
                unseen |= distance >= window
            bias = torch.zeros(distance.shape, device=self.device)
            bias = bias.masked_fill_(unseen, -math.inf)[:, None]
            slopes = self.masks.alibi_slopes
            if slopes is not None:
                bias = bias - slopes[:, None, None] * distance[:, None]
            group.biases[window, dtype] = bias.to(dtype)
        return group.biases[window, dtype]


def _exact(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, softcap: float | None, offset: int
) -> Tensor:
    """Attention of `q: (B, T, H, D)` to `k, v: (H_kv, B, S, D)`, computed in fp32: `(B, T, H, D)`.

    Every sum has an order that depends on its own terms alone (see the head of this file). The
    first key is `offset` keys behind a multiple of `SPAN`, where the sums over values are split.
    """
    (B, T, H, D), (H_kv, _, S, _) = q.shape, k.shape
    k, v = k.reshape(H_kv * B, S, D).float(), v.reshape(H_kv * B, S, D).float()
    # The scale is not left to the product, which applies it before or after, depending on shapes.
    rows = (q * (1 / math.sqrt(D))).view(B, T, H_kv, H // H_kv, D).permute(2, 0, 3, 1, 4)
    scores = torch.bmm(rows.reshape(H_kv * B, -1, D).float(), k.mT)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        by_head = scores.view(H_kv, B, H // H_kv, T, S).permute(1, 0, 2, 3, 4)
        by_head += bias.unflatten(1, (H_kv, -1)) if bias.shape[1] > 1 else bias[:, None]
    weights = torch.softmax(scores, -1)
    first = SPAN - offset
    out = torch.bmm(weights[..., :first], v[:, :first])
    for start in range(first, S, SPAN):
        out.baddbmm_(weights[..., start : start + SPAN], v[:, start : start + SPAN])
    return out.view(H_kv, B, H // H_kv, T, D).permute(1, 3, 0, 2, 4).reshape(q.shape).to(q.dtype)


def _fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """The same by torch's fused attention, in the type of `q`."""
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2).to(k.dtype),
        k.transpose(0, 1),
        v.transpose(0, 1),
        attn_mask=bias,
        enable_gqa=q.shape[2] != k.shape[0],
    )
    return out.transpose(1, 2)


def paged_hidden_states(model: Any, step: PagedStep) -> Tensor:
    """What the head reads, `(N, C)`: `Transformer.run` with a position for every token."""
    c: GPTConfig = model.config
    x = model.token_embedding(step.ids[None])  # (1, N, C)
    if getattr(model, "token_projection", None) is not None:  # of a narrow embedding
        x = model.token_projection(x)
    if c.scale_embedding:
        x = x * c.n_embd**0.5
    rotation = None
    if model.position_embedding is not None:
        x = x + model.position_embedding(step.positions)
    elif c.position == "sinusoidal":
        x = x + model.tables["sinusoids"][step.positions].to(x.dtype)
    elif c.position == "rope":
        rotation = _rotation(model, step)
    elif c.position == "alibi":
        step.masks.alibi_slopes = model.tables["slopes"]
    state = ForwardState(
        step.attend,
        step.masks,
        step,  # type: ignore[arg-type]
        rotation,
        memory_masks=step.memory_masks,
    )
    for block in model.blocks:
        x = block(x, state)
    return model.norm(x)[0]


def _rotation(model: Any, step: PagedStep) -> tuple[Tensor, Tensor]:
    """Cosines and sines; computed beyond `block_size`, where the model's tables end."""
    c: GPTConfig = model.config
    if step.last_position < c.block_size:
        return model.tables["cos"][step.positions], model.tables["sin"][step.positions]
    D = c.head_size
    exponents = torch.arange(0, D, 2, dtype=torch.float64, device=step.device) / D
    angles = step.positions.double()[:, None] * c.rope_theta**-exponents
    return angles.cos().float(), angles.sin().float()


def memory_keys_values(model: Any, source: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
    """What each layer's cross-attention sees of the text `source: (1, S)`; `(H_kv, S, D)` each."""
    memory = model.encode(source)
    found = {}
    for layer, block in enumerate(model.blocks):
        state = ForwardState(model.attend, Masks(), memory=memory)
        k, v = block.cross_attention.keys_values(state)
        found[layer] = (k[0].transpose(0, 1).contiguous(), v[0].transpose(0, 1).contiguous())
    return found
