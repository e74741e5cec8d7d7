"""Checks of what a network is called with; each raises `ValueError` with expected and got."""

from __future__ import annotations

from typing import Literal

from torch import Tensor


def check_ids(ids: Tensor, block_size: int, cached: int = 0) -> None:
    """`ids` are `(B, T)` integers and fit `block_size` together with `cached` earlier tokens."""
    if ids.dim() != 2 or ids.is_floating_point():
        raise ValueError(
            f"ids: expected a (B, T) tensor of integers, got shape {tuple(ids.shape)}, "
            f"{ids.dtype}; one sequence is ids[None, :]"
        )
    if not 1 <= ids.shape[1] <= block_size:
        raise ValueError(
            f"ids: expected 1 to {block_size} tokens (block_size), got {ids.shape[1]}: "
            "crop them, or make a model with a larger block_size"
        )
    if cached + ids.shape[1] > block_size:
        raise ValueError(
            f"{cached + ids.shape[1]} tokens with those in the cache are more than block_size = "
            f"{block_size}: start again from the last tokens"
        )


def check_targets(targets: Tensor, hidden: Tensor) -> None:
    """`targets` are `(B, T)` like the ids that `hidden: (B, T, C)` was computed from."""
    if targets.shape != hidden.shape[:2]:
        raise ValueError(
            f"targets: expected the shape of ids, {tuple(hidden.shape[:2])}, "
            f"got {tuple(targets.shape)}"
        )


def check_reduction(reduction: str) -> Literal["mean", "sum", "none"]:
    """`reduction`, which must be one that the loss knows."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
    return reduction
