"""Ids of many texts in one array, for tokenizers that encode one text at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def join_ids(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All ids, uint32, and the offsets `(n + 1,)` of each of the `n` rows in them."""
    offsets = np.cumsum([0, *(len(row) for row in rows)])
    return np.concatenate([np.empty(0, np.uint32), *rows]), offsets
