"""Where a token stands: sinusoids, rotations (RoPE) and ALiBi slopes."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoids(length: int, width: int) -> Tensor:
    """The fixed encodings of "Attention is all you need", section 3.5: `(length, width)` fp32.

    Even columns are sines, odd ones cosines, of `position / 10000^(column / width)`.
    """
    positions = torch.arange(length, dtype=torch.float64)[:, None]
    frequencies = torch.exp(
        torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width)
    )
    table = torch.empty(length, width, dtype=torch.float64)
    table[:, 0::2] = torch.sin(positions * frequencies)
    table[:, 1::2] = torch.cos(positions * frequencies)
    return table.float()


def rope_table(length: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE (Su et al. 2021), each `(length, head_dim / 2)` fp32."""
    frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates `x: (B, T, H, D)` by `cos, sin: (T, D / 2)` or `(B, T, D / 2)`.

    Column `i` is paired with column `i + D / 2` (the layout of Llama and Qwen weights in Hugging
    Face's format), not with its neighbour as in the paper: a permutation of the weights' rows.
    """
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.unsqueeze(-2).to(x.dtype), sin.unsqueeze(-2).to(x.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def alibi_slopes(n_head: int) -> Tensor:
    """One slope a head, `(n_head,)` fp32, as in ALiBi (Press et al. 2022).

    A geometric sequence from `2^(-8/n)` for a power of two; for other counts the sequence of the
    power below, filled up with every second slope of the power above.
    """

    def powers(n: int) -> list[float]:
        return [2 ** (-8 * (i + 1) / n) for i in range(n)]

    below = 2 ** int(math.log2(n_head))
    slopes = powers(below)
    if below < n_head:
        slopes += powers(2 * below)[0::2][: n_head - below]
    return torch.tensor(slopes, dtype=torch.float32)
