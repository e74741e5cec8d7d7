"""What a model knows of positions, drawn from its settings; the weights where it learned them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gptpy.config.model import GPTConfig
from gptpy.model.tables import position_tables
from gptpy.report.style import BLUE, WIDTH, colour_bar, drawing, heat_map


def position_values(
    config: GPTConfig, learned: Tensor | None = None, *, length: int | None = None
) -> tuple[str, Tensor] | None:
    """What is added, multiplied or subtracted for positions: a title and a matrix.

    "sinusoidal" and "learned": `(positions, n_embd)`; "rope": cosines `(positions, pairs)`;
    "alibi": what is subtracted, `(heads, distances)`. None for "none", and for "learned" without
    the weights.
    """
    tables = position_tables(config, length)
    if config.position == "learned":
        return None if learned is None else ("learned positions", learned.detach().float().cpu())
    if config.position == "sinusoidal":
        return "sinusoidal positions", tables["sinusoids"].cpu()
    if config.position == "rope":
        return "rotary positions (RoPE): cosine of each pair's angle", tables["cos"].cpu()
    if config.position == "alibi":
        distance = torch.arange(length or config.block_size)
        return "ALiBi: what a head adds to a score", -tables["slopes"].cpu()[:, None] * distance
    return None


def by_distance(config: GPTConfig, values: Tensor) -> Tensor:
    """`(positions,)`: how alike two positions are on average, by their distance; 1 at 0.

    The cosine of their vectors; for "rope" the mean cosine of the angles between them, which is
    what the rotation leaves of the product of two equal vectors.
    """
    if config.position == "rope":
        return values.mean(1)
    unit = values / values.norm(dim=1, keepdim=True).clamp_min(1e-12)
    products = unit @ unit.T
    return torch.stack([products.diagonal(-d).mean() for d in range(len(products))])


def plot_positions(
    config: GPTConfig, path: Path, *, learned: Tensor | None = None, length: int | None = None
) -> Path | None:
    """Positions as a heat map, and what they know of distance; None where there is none.

    No model is needed but for `learned`: the weight `(block_size, n_embd)` of its embedding of
    positions. `length`: how many positions (default: `block_size`).
    """
    found = position_values(config, learned, length=length)
    if found is None:
        return None
    title, values = found
    with drawing(path, WIDTH, 3.4) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        scale = "values" if config.position == "alibi" else "signed"
        image = heat_map(left, values, scale=scale)
        colour_bar(figure, image, left, "value")
        right.set_xlabel("distance (tokens)")
        if config.position == "alibi":
            left.set(xlabel="distance (tokens)", ylabel="head")
            left.set_yticks(range(len(values)), [str(i + 1) for i in range(len(values))])
            for head in {0, len(values) // 2, len(values) - 1}:
                right.plot(values[head].exp(), label=f"head {head + 1}")
            right.set_ylabel("factor on the weight")
            right.legend()
        else:
            dimension = "pair of dimensions" if config.position == "rope" else "dimension"
            left.set(xlabel=dimension, ylabel="position (token)")
            right.plot(by_distance(config, values), "-", color=BLUE)
            right.set_ylabel("similarity (mean cosine)")
        figure.suptitle(title)
    return path
