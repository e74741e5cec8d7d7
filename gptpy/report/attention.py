"""Attention weights as heat maps: heads side by side with shared labels, or one head large."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptpy.config.errors import ConfigError
from gptpy.data.dataset import Batch, number_documents
from gptpy.model.maps import attention_maps
from gptpy.report.style import colour_bar, drawing, heat_map

SMALL, LARGE = 0.115, 0.22
"""Inches of a cell, so that a label beside it can be read: of many maps, of one."""
Source = tuple[Sequence[int], Sequence[str]]


def weights_of(
    model: Any,
    ids: Sequence[int],
    kind: str,
    source: Source | None = None,
    end_of_text: int | None = None,
) -> list[Tensor]:
    """The weights `(H, T, S)` of each layer on `ids`; `ConfigError` for a model without any."""
    device = next(model.parameters()).device
    tensor = torch.tensor([list(ids)], device=device)
    inputs = {} if source is None else {"source": torch.tensor([list(source[0])], device=device)}
    if end_of_text is not None:
        inputs = Batch(tensor, tensor, number_documents(tensor, end_of_text)).masks()
    maps = attention_maps(model, tensor, **inputs).get(kind)
    if not maps:
        raise ConfigError(f"this model has no {kind}-attention layer to plot")
    return maps


def plot_attention(
    model: Any,
    ids: Sequence[int],
    labels: Sequence[str],
    path: Path,
    *,
    layers: int = 4,
    kind: str = "self",
    source: Source | None = None,
    end_of_text: int | None = None,
) -> Path:
    """Attention weights on `ids`: a row of heat maps a layer, at most `layers` and 4 heads.

    The `labels` stand once, at the left and above. For an encoder-decoder, `source` is the ids and
    labels of its source, and `kind` is "self" (in the decoder), "cross" (from the decoder to the
    source) or "encoder". With `end_of_text`, no document sees another, as in training with
    `data.document_mask`. Raises `ConfigError` for a model without such layers.
    """
    maps = weights_of(model, ids, kind, source, end_of_text)
    chosen = sorted({round(i * (len(maps) - 1) / max(layers - 1, 1)) for i in range(layers)})
    heads = min(4, maps[0].shape[0])
    here, there = _axes_of(labels, kind, source)
    width = max(1.3, SMALL * len(there))
    height = max(1.3, SMALL * len(here))
    with drawing(path, width * heads + 1.4, height * len(chosen) + 1.1) as figure:
        grid = figure.subplots(len(chosen), heads, squeeze=False, sharex=True, sharey=True)
        image = None
        for row, layer in enumerate(chosen):
            for head in range(heads):
                axes, above = grid[row][head], row == 0
                image = heat_map(
                    axes,
                    maps[layer][head],
                    scale="weights",
                    x=there if above else None,
                    y=here if head == 0 else None,
                    hidden=_hidden(maps[layer][head], kind),
                    size=7,
                )
                if not above:
                    axes.tick_params(labeltop=False, labelbottom=False, length=0)
                axes.set_aspect("equal")
                axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=8, pad=3, y=-0.12)
        figure.supylabel("token that looks", fontsize=9)
        figure.suptitle("token looked at", fontsize=9)
        colour_bar(figure, image, grid.ravel().tolist(), "weight")
    return path


def plot_head(
    model: Any,
    ids: Sequence[int],
    labels: Sequence[str],
    path: Path,
    *,
    layer: int | None = None,
    head: int | None = None,
    kind: str = "self",
    source: Source | None = None,
    end_of_text: int | None = None,
) -> Path:
    """One head large, every label readable; numbers from 0, as `plot_attention` otherwise.

    By default the head that looks most sharply at other tokens. `ConfigError` for a layer or head
    that the model does not have.
    """
    maps = weights_of(model, ids, kind, source, end_of_text)
    if layer is not None and not 0 <= layer < len(maps):
        raise ConfigError(f"layer: expected 1 to {len(maps)}, got {layer + 1}")
    if head is not None and not 0 <= head < len(maps[0]):
        raise ConfigError(f"head: expected 1 to {len(maps[0])}, got {head + 1}")
    layer, head = sharpest(maps, kind, layer, head)
    here, there = _axes_of(labels, kind, source)
    size = (max(3.0, LARGE * len(there)) + 2.2, max(3.0, LARGE * len(here)) + 1.4)
    with drawing(path, *size) as figure:
        axes = figure.subplots()
        weights = maps[layer][head]
        hidden = _hidden(weights, kind)
        image = heat_map(axes, weights, scale="weights", x=there, y=here, hidden=hidden, size=9)
        axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=11)
        axes.set(ylabel="token that looks", xlabel="token looked at")
        axes.xaxis.set_label_position("top")
        colour_bar(figure, image, axes, "weight")
    return path


def sharpest(
    maps: Sequence[Tensor], kind: str, layer: int | None = None, head: int | None = None
) -> tuple[int, int]:
    """(layer, head), from 0, whose rows have the largest weight on another token on average.

    A token's own weight and that of the first token, where heads rest that look at nothing, do not
    count in self-attention. A given `layer` or `head` stays.
    """
    best, found = -1.0, (layer or 0, head or 0)
    for i, weights in enumerate(maps):
        others = weights.clone()
        if kind != "cross" and others.shape[-1] > 2:
            others.diagonal(dim1=-2, dim2=-1).zero_()
            others[..., 0] = 0
        for j, value in enumerate(others.amax(-1).mean(-1).tolist()):
            if value > best and layer in (None, i) and head in (None, j):
                best, found = value, (i, j)
    return found


def _axes_of(
    labels: Sequence[str], kind: str, source: Source | None
) -> tuple[Sequence[str], Sequence[str]]:
    """Labels of the rows and of the columns."""
    there = source[1] if source is not None and kind != "self" else labels
    return (there if kind == "encoder" else labels), there


def _hidden(weights: Tensor, kind: str) -> Tensor | None:
    """What the causal mask hides, to be left empty; in an encoder nothing is."""
    square = weights.shape[0] == weights.shape[1]
    above = torch.ones_like(weights).triu(1).bool()
    return above if kind == "self" and square and not weights[above].any() else None
