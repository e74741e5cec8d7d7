"""Tile shapes of the attention kernels: one static table; every entry passed the compile gates."""

from __future__ import annotations

from typing import NamedTuple


class TileConfig(NamedTuple):
    """One way to launch a kernel: tile rows of queries and keys, warps, pipeline stages, TMA."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    tma: bool = False


TABLE: dict[tuple[str, int, str, str], dict[int, TileConfig]] = {
    ("hopper", 2, "forward", "causal"): {
        16: TileConfig(128, 128, 8, 3, tma=True),
        32: TileConfig(128, 128, 8, 3, tma=True),
        64: TileConfig(128, 128, 8, 3, tma=True),
        128: TileConfig(128, 128, 8, 3, tma=True),
        256: TileConfig(128, 64, 8, 2, tma=True),
    },
    ("hopper", 2, "forward", "ranges"): {
        64: TileConfig(128, 128, 8, 3, tma=True),
        128: TileConfig(128, 128, 8, 3, tma=True),
    },
    ("hopper", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 8, 2, tma=True),
        128: TileConfig(128, 64, 8, 3, tma=True),
        256: TileConfig(64, 16, 4, 1, tma=True),
    },
    ("hopper", 2, "key_gradient", "causal"): {
        16: TileConfig(64, 128, 8, 2, tma=True),
        32: TileConfig(64, 128, 8, 2, tma=True),
        64: TileConfig(64, 128, 8, 2, tma=True),
        128: TileConfig(32, 128, 8, 2, tma=True),
        256: TileConfig(32, 32, 8, 2),
    },
    ("hopper", 2, "key_gradient", "ranges"): {
        64: TileConfig(64, 128, 8, 2, tma=True),
        128: TileConfig(16, 128, 8, 2, tma=True),
    },
    ("hopper", 2, "key_gradient", "everything"): {
        64: TileConfig(32, 64, 4, 2, tma=True),
        128: TileConfig(32, 32, 4, 1),
        256: TileConfig(32, 32, 8, 1),
    },
    ("hopper", 2, "query_gradient", "causal"): {
        16: TileConfig(128, 128, 8, 2, tma=True),
        32: TileConfig(128, 128, 8, 2, tma=True),
        64: TileConfig(128, 128, 8, 2, tma=True),
        128: TileConfig(128, 128, 8, 2, tma=True),
        256: TileConfig(128, 32, 8, 2, tma=True),
    },
    ("hopper", 2, "query_gradient", "ranges"): {
        64: TileConfig(128, 128, 8, 2, tma=True),
        128: TileConfig(128, 128, 8, 2, tma=True),
    },
    ("hopper", 2, "query_gradient", "everything"): {
        64: TileConfig(128, 64, 8, 3, tma=True),
        128: TileConfig(128, 64, 8, 3, tma=True),
        256: TileConfig(64, 16, 4, 1, tma=True),
    },
    ("hopper", 4, "forward", "causal"): {
        64: TileConfig(64, 32, 4, 2),
        128: TileConfig(16, 32, 4, 2),
    },
    ("hopper", 4, "forward", "everything"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 2),
    },
    ("hopper", 4, "key_gradient", "causal"): {
        64: TileConfig(32, 32, 4, 1),
        128: TileConfig(16, 16, 4, 1),
    },
    ("hopper", 4, "key_gradient", "everything"): {
        64: TileConfig(32, 16, 4, 1),
        128: TileConfig(32, 16, 8, 1),
    },
    ("hopper", 4, "query_gradient", "causal"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 1),
    },
    ("hopper", 4, "query_gradient", "everything"): {
        64: TileConfig(16, 32, 4, 1),
        128: TileConfig(16, 32, 4, 1),
    },
    ("hopper pointers", 2, "forward", "causal"): {
        64: TileConfig(128, 128, 8, 2),
        128: TileConfig(128, 128, 8, 2),
        256: TileConfig(128, 32, 8, 2),
    },
    ("hopper pointers", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 8, 2),
        128: TileConfig(128, 32, 8, 2),
        256: TileConfig(64, 16, 4, 1),
    },
    ("hopper pointers", 2, "key_gradient", "causal"): {
        64: TileConfig(32, 128, 8, 2),
        128: TileConfig(16, 128, 8, 2),
        256: TileConfig(32, 32, 8, 2),
    },
    ("hopper pointers", 2, "key_gradient", "everything"): {
        64: TileConfig(32, 64, 4, 1),
        128: TileConfig(32, 32, 4, 1),
        256: TileConfig(32, 32, 8, 1),
    },
    ("hopper pointers", 2, "query_gradient", "causal"): {
        64: TileConfig(128, 128, 8, 2),
        128: TileConfig(128, 64, 8, 2),
        256: TileConfig(128, 32, 8, 2),
    },
    ("hopper pointers", 2, "query_gradient", "everything"): {
        64: TileConfig(128, 64, 8, 2),
        128: TileConfig(128, 32, 8, 2),
        256: TileConfig(32, 32, 4, 1),
    },
    ("blackwell", 2, "forward", "causal"): {
        64: TileConfig(128, 128, 8, 3, tma=True),
        128: TileConfig(128, 128, 8, 3, tma=True),
        256: TileConfig(128, 64, 8, 2, tma=True),
    },
    ("blackwell", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 8, 3, tma=True),
        128: TileConfig(128, 64, 8, 2, tma=True),
        256: TileConfig(128, 32, 8, 1, tma=True),
    },
    ("blackwell", 2, "key_gradient", "causal"): {
        64: TileConfig(64, 128, 8, 2, tma=True),
        128: TileConfig(64, 64, 8, 2, tma=True),
        256: TileConfig(16, 16, 8, 1, tma=True),
    },
    ("blackwell", 2, "key_gradient", "everything"): {
        64: TileConfig(32, 64, 4, 1, tma=True),
        128: TileConfig(32, 64, 4, 1, tma=True),
        256: TileConfig(16, 16, 8, 1, tma=True),
    },
    ("blackwell", 2, "query_gradient", "causal"): {
        64: TileConfig(128, 128, 8, 2, tma=True),
        128: TileConfig(128, 128, 8, 2, tma=True),
        256: TileConfig(128, 32, 8, 2, tma=True),
    },
    ("blackwell", 2, "query_gradient", "everything"): {
        64: TileConfig(128, 64, 8, 2, tma=True),
        128: TileConfig(128, 32, 8, 2, tma=True),
        256: TileConfig(128, 32, 8, 1, tma=True),
    },
    ("blackwell", 4, "forward", "causal"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 2),
    },
    ("blackwell", 4, "forward", "everything"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 2),
    },
    ("blackwell", 4, "key_gradient", "causal"): {
        64: TileConfig(32, 32, 4, 1),
        128: TileConfig(16, 16, 4, 1),
    },
    ("blackwell", 4, "key_gradient", "everything"): {
        64: TileConfig(32, 16, 4, 1),
        128: TileConfig(32, 16, 8, 1),
    },
    ("blackwell", 4, "query_gradient", "causal"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 1),
    },
    ("blackwell", 4, "query_gradient", "everything"): {
        64: TileConfig(16, 32, 4, 1),
        128: TileConfig(16, 32, 4, 1),
    },
    ("blackwell pointers", 2, "forward", "causal"): {
        64: TileConfig(128, 64, 8, 2),
        128: TileConfig(128, 64, 8, 2),
        256: TileConfig(128, 32, 8, 2),
    },
    ("blackwell pointers", 2, "forward", "everything"): {
        64: TileConfig(128, 32, 8, 2),
        128: TileConfig(128, 32, 8, 2),
        256: TileConfig(32, 32, 4, 1),
    },
    ("blackwell pointers", 2, "key_gradient", "causal"): {
        64: TileConfig(32, 128, 8, 2),
        128: TileConfig(32, 64, 4, 1),
        256: TileConfig(32, 32, 8, 1),
    },
    ("blackwell pointers", 2, "key_gradient", "everything"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(32, 32, 4, 1),
        256: TileConfig(32, 32, 8, 1),
    },
    ("blackwell pointers", 2, "query_gradient", "causal"): {
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(128, 64, 8, 2),
        256: TileConfig(128, 32, 8, 1),
    },
    ("blackwell pointers", 2, "query_gradient", "everything"): {
        64: TileConfig(64, 32, 4, 2),
        128: TileConfig(64, 32, 4, 2),
        256: TileConfig(32, 32, 4, 1),
    },
    ("large", 2, "forward", "causal"): {
        32: TileConfig(128, 64, 4, 3),
        64: TileConfig(128, 64, 4, 3),
        128: TileConfig(128, 64, 8, 2),
        256: TileConfig(64, 64, 8, 2),
    },
    ("large", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(64, 64, 8, 2),
        256: TileConfig(32, 32, 4, 1),
    },
    ("large", 2, "key_gradient", "causal"): {
        64: TileConfig(32, 64, 4, 2),
        128: TileConfig(16, 128, 8, 1),
        256: TileConfig(32, 32, 8, 1),
    },
    ("large", 2, "key_gradient", "everything"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(32, 32, 4, 1),
        256: TileConfig(32, 32, 8, 1),
    },
    ("large", 2, "query_gradient", "causal"): {
        32: TileConfig(128, 64, 8, 3),
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(64, 64, 8, 2),
        256: TileConfig(64, 64, 8, 2),
    },
    ("large", 2, "query_gradient", "everything"): {
        64: TileConfig(64, 32, 4, 2),
        128: TileConfig(64, 64, 8, 2),
        256: TileConfig(32, 32, 4, 1),
    },
    ("large", 4, "forward", "causal"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 2),
    },
    ("large", 4, "forward", "everything"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 2),
    },
    ("large", 4, "key_gradient", "causal"): {
        64: TileConfig(32, 32, 4, 1),
        128: TileConfig(16, 16, 4, 1),
    },
    ("large", 4, "key_gradient", "everything"): {
        64: TileConfig(32, 16, 4, 1),
        128: TileConfig(16, 16, 8, 1),
    },
    ("large", 4, "query_gradient", "causal"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 1),
    },
    ("large", 4, "query_gradient", "everything"): {
        64: TileConfig(32, 32, 4, 1),
        128: TileConfig(16, 32, 4, 1),
    },
    ("small", 2, "forward", "causal"): {
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(128, 64, 8, 2),
        256: TileConfig(64, 32, 8, 2),
    },
    ("small", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(64, 32, 8, 2),
        256: TileConfig(32, 32, 4, 1),
    },
    ("small", 2, "key_gradient", "causal"): {
        64: TileConfig(32, 128, 8, 2),
        128: TileConfig(16, 128, 8, 1),
        256: TileConfig(32, 32, 8, 2),
    },
    ("small", 2, "key_gradient", "everything"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(32, 32, 4, 1),
        256: TileConfig(32, 32, 8, 1),
    },
    ("small", 2, "query_gradient", "causal"): {
        64: TileConfig(128, 64, 8, 3),
        128: TileConfig(64, 64, 8, 2),
        256: TileConfig(64, 32, 8, 1),
    },
    ("small", 2, "query_gradient", "everything"): {
        64: TileConfig(64, 32, 4, 2),
        128: TileConfig(64, 64, 8, 2),
        256: TileConfig(32, 32, 4, 1),
    },
    ("small", 4, "forward", "causal"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 2),
    },
    ("small", 4, "forward", "everything"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 32, 4, 2),
    },
    ("small", 4, "key_gradient", "causal"): {
        64: TileConfig(32, 16, 4, 1),
    },
    ("small", 4, "key_gradient", "everything"): {
        64: TileConfig(32, 16, 4, 1),
        128: TileConfig(16, 16, 8, 1),
    },
    ("small", 4, "query_gradient", "causal"): {
        64: TileConfig(32, 32, 4, 2),
        128: TileConfig(16, 16, 8, 1),
    },
    ("small", 4, "query_gradient", "everything"): {
        64: TileConfig(16, 32, 4, 1),
        128: TileConfig(16, 32, 8, 1),
    },
    ("amd", 2, "forward", "causal"): {
        64: TileConfig(128, 64, 4, 1),
        128: TileConfig(128, 64, 4, 1),
        256: TileConfig(128, 32, 4, 1),
    },
    ("amd", 2, "forward", "everything"): {
        64: TileConfig(128, 64, 4, 1),
        128: TileConfig(128, 64, 4, 1),
        256: TileConfig(128, 32, 4, 1),
    },
    ("amd", 2, "key_gradient", "causal"): {
        64: TileConfig(64, 128, 4, 1),
        128: TileConfig(32, 128, 4, 1),
    },
    ("amd", 2, "key_gradient", "everything"): {
        64: TileConfig(64, 128, 4, 1),
        128: TileConfig(32, 128, 4, 1),
        256: TileConfig(32, 32, 4, 1),
    },
    ("amd", 2, "query_gradient", "causal"): {
        64: TileConfig(128, 64, 4, 1),
        128: TileConfig(128, 64, 4, 1),
        256: TileConfig(64, 32, 4, 1),
    },
    ("amd", 2, "query_gradient", "everything"): {
        64: TileConfig(128, 64, 4, 1),
        128: TileConfig(128, 64, 4, 1),
        256: TileConfig(32, 32, 4, 1),
    },
    ("amd", 4, "forward", "causal"): {
        64: TileConfig(128, 32, 4, 1),
        128: TileConfig(128, 32, 4, 1),
    },
    ("amd", 4, "forward", "everything"): {
        64: TileConfig(128, 32, 4, 1),
        128: TileConfig(128, 32, 4, 1),
    },
    ("amd", 4, "key_gradient", "causal"): {
        64: TileConfig(32, 128, 4, 1),
        128: TileConfig(16, 128, 4, 1),
    },
    ("amd", 4, "key_gradient", "everything"): {
        64: TileConfig(32, 128, 4, 1),
        128: TileConfig(16, 128, 4, 1),
    },
    ("amd", 4, "query_gradient", "causal"): {
        64: TileConfig(128, 32, 4, 1),
        128: TileConfig(128, 32, 4, 1),
    },
    ("amd", 4, "query_gradient", "everything"): {
        64: TileConfig(128, 32, 4, 1),
        128: TileConfig(128, 32, 4, 1),
    },
}
