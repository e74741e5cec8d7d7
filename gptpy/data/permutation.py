"""A random order of n items that needs no memory: item i of a shuffle, computed from i.

A Feistel network over the next power of four, walked until it lands inside 0..n-1 ("cycle walking",
Black and Rogaway 2002), is a bijection of 0..n-1 for every key. The key comes from (seed, epoch),
so any position of any epoch is known without having visited those before it.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 6
_MASK = np.uint64(0xFFFFFFFFFFFFFFFF)


def mix(value: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014): uint64 -> uint64, all bits depend on all."""
    value = value.astype(np.uint64)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def draw(*key: int) -> int:
    """One 64-bit number that depends on every integer of the key and on their order."""
    state = np.array([0x9E3779B97F4A7C15], np.uint64)
    for part in key:
        state = mix(state + np.array([part % (1 << 64)], np.uint64)) + np.uint64(1)
    return int(mix(state)[0])


def permute(index: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """The places `index` (any shape, 0..n-1, int64) of epoch `epoch`'s shuffle of 0..n-1."""
    index = np.asarray(index, dtype=np.uint64)
    if n < 1:
        raise ValueError(f"a permutation needs n >= 1, got {n}")
    if index.size and int(index.max()) >= n:
        raise ValueError(f"index must lie in 0..{n - 1}, got {int(index.max())}")
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    keys = [np.uint64(draw(seed, epoch, r)) for r in range(ROUNDS)]
    value = _feistel(index, half, keys)
    outside = value >= n
    while outside.any():
        # The network permutes at most 4 n values, so on average a quarter or more of those that are
        # outside land inside in every round
        value[outside] = _feistel(value[outside], half, keys)
        outside = value >= n
    return value.astype(np.int64)


def _feistel(value: np.ndarray, half: np.uint64, keys: list[np.uint64]) -> np.ndarray:
    low_mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & low_mask
    for key in keys:
        left, right = right, left ^ (mix(right + key) & low_mask)
    return (left << half) | right
