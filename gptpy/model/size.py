"""How large a network is, counted from its configuration, and whether this machine can hold it."""

from __future__ import annotations

import torch

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.devices.selection import total_memory

POSITIONS = "positions (model.block_size)"
WEIGHT_BYTES = 4
"""Weights are made, and trained, in fp32."""


def count_parameters(c: GPTConfig) -> int:
    """Number of parameters of the network, each counted once; nothing is built."""
    return sum(parameters_by_part(c).values())


def parameters_by_part(c: GPTConfig) -> dict[str, int]:
    """Number of parameters of each part of the network, by its name and what decides its size."""
    if c.architecture == "bigram":
        return {"the table (model.vocab_size)": c.vocab_size**2}
    C, D, H, H_kv = c.n_embd, c.head_size, c.n_head, c.kv_heads
    E = C if c.n_token_embd is None else c.n_token_embd

    def linear(columns: int, rows: int, bias: bool = c.bias) -> int:
        return rows * (columns + bias)

    def norm(width: int, with_bias: bool = False) -> int:
        return c.norm_affine * width * (1 + with_bias)

    wide_norm = norm(C, c.norm == "layernorm" and c.bias)
    head_norms = 2 * norm(D) if c.qk_norm else 0
    out = linear(H * D, C)
    attention = linear(C, (H + 2 * H_kv) * D, c.has_qkv_bias) + out + head_norms
    cross = linear(C, (H + 2 * H_kv) * D, c.has_qkv_bias) + out + head_norms
    mlp = linear(C, c.hidden_size * (1 + c.gated)) + linear(c.hidden_size, C)
    block = attention + mlp + 2 * wide_norm
    narrow = 0 if c.n_token_embd is None else E * C
    blocks = c.n_layer * block + wide_norm
    if c.architecture == "encoder-decoder":
        blocks += c.n_layer * (cross + wide_norm) + c.encoder_layers * block + wide_norm
    return {
        "the blocks (model.n_layer, n_embd, n_hidden, head_dim)": blocks,
        "the vocabulary (model.vocab_size, n_embd)": c.vocab_size * (E + (not c.tied_head) * C)
        + narrow,
        POSITIONS: c.block_size * C if c.position == "learned" else 0,
    }


def _table_numbers(c: GPTConfig) -> int:
    """Numbers in the fixed tables of positions, which are no parameters."""
    width = {"rope": c.head_size, "sinusoidal": c.n_embd}.get(c.position, 0)
    return c.block_size * width


def check_size(
    c: GPTConfig, device: torch.device, *, bytes_per_parameter: int = WEIGHT_BYTES, parts: int = 1
) -> None:
    """`ConfigError` where the network cannot fit the memory of `device`, named with what it needs.

    `bytes_per_parameter`: with gradients and optimiser where it is trained. `parts`: over so many
    devices it is sharded.
    """
    memory = total_memory(device)
    by_part = parameters_by_part(c)
    count, tables = sum(by_part.values()), _table_numbers(c)
    needed = (count * bytes_per_parameter + tables * WEIGHT_BYTES) // parts
    if memory is None or needed <= memory:
        return
    by_part[POSITIONS] = by_part.get(POSITIONS, 0) + tables
    purpose = "its weights" if bytes_per_parameter == WEIGHT_BYTES else "training"
    raise ConfigError(
        f"a model of {_shown(count)} parameters needs {gigabytes(needed)} of memory for "
        f"{purpose}, this {device.type} has {gigabytes(memory)}; most of it for "
        f"{max(by_part, key=lambda part: by_part[part])}: take a smaller one"
    )


def gigabytes(size: int) -> str:
    """A number of bytes in GB."""
    return f"{_shown(size / 1e9)} GB"


def _shown(number: float) -> str:
    return f"{number:,.1f}".removesuffix(".0") if number < 1e15 else f"{number:.2e}"
