"""The token embedding: nearest tokens as a table, and a map in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptpy.report.style import BLUE, INK, WIDTH, drawing, visible

SHOWN = 70
"""Tokens of a map: more would cover each other."""


def nearest_tokens(
    model: Any, ids: Sequence[int], count: int = 5, among: Sequence[int] | None = None
) -> list[list[tuple[int, float]]]:
    """For each of `ids` the `count` tokens with the most similar embeddings, by cosine.

    Each as (id, cosine), without the token itself. `among`: the ids to choose from; default all.
    """
    table = model.token_embedding.weight.detach().float()
    table = table / table.norm(dim=1, keepdim=True).clamp_min(1e-12)
    numbers = torch.arange(len(table)) if among is None else torch.as_tensor(among)
    cosines = table[list(ids)] @ table[numbers].T
    best = cosines.topk(min(count + 1, len(numbers)), dim=1)
    rows = []
    for own, near, values in zip(
        ids, numbers[best.indices].tolist(), best.values.tolist(), strict=True
    ):
        pairs = [(i, v) for i, v in zip(near, values, strict=True) if i != own]
        rows.append(pairs[:count])
    return rows


def token_label(tokenizer: Any, token: int) -> str:
    """A token's text, or its number where it has none (reserved ids, gaps, padding)."""
    try:
        return tokenizer.decode([token])
    except KeyError:
        return f"<{token}>"


def plot_neighbours(
    model: Any,
    tokenizer: Any,
    ids: Sequence[int],
    path: Path,
    *,
    trained: Sequence[int] | None = None,
) -> Path | None:
    """A table of tokens and their nearest ones in the embedding.

    `trained`: the ids that occur in the training data, where known. Others still have their random
    initial vectors and are not shown. Returns None without an embedding or a token to show.
    """
    if getattr(model, "token_embedding", None) is None:
        return None
    shown = None if trained is None else set(trained)
    chosen = [i for i in dict.fromkeys(ids) if shown is None or i in shown][:14]
    if not chosen or (shown is not None and len(shown) < 2):
        return None
    near = nearest_tokens(model, chosen, among=None if shown is None else sorted(shown))
    width = max(map(len, near))
    with drawing(path, WIDTH, 0.27 * len(chosen) + 0.6) as figure:
        axes = figure.subplots()
        axes.axis("off")
        axes.set(xlim=(0, width + 1.1), ylim=(len(chosen), -1))
        whose = "" if trained is None else " of the training text"
        axes.set_title(f"nearest tokens{whose} in the embedding (cosine)")
        axes.hlines(
            [y - 0.5 for y in range(1, len(chosen))], 0, width + 1.1, INK, lw=0.5, alpha=0.3
        )
        for y, (token, row) in enumerate(zip(chosen, near, strict=True)):
            own = visible(token_label(tokenizer, token))
            axes.text(0.95, y, own, ha="right", va="center", fontweight="bold", fontsize=9)
            for x, (other, cosine) in enumerate(row, start=1):
                text = visible(token_label(tokenizer, other))
                axes.text(x + 0.15, y, text, va="center", color=BLUE, fontsize=9)
                axes.text(x + 0.98, y, f"{cosine:.2f}", ha="right", va="center", fontsize=8)
    return path


def principal_components(vectors: Tensor, count: int = 2) -> tuple[Tensor, Tensor]:
    """`(n, count)` coordinates of `vectors: (n, C)` along their main directions, and `(count,)`
    shares of the variance that each direction has."""
    centred = vectors.double() - vectors.double().mean(0)
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    shares = sizes.square() / sizes.square().sum().clamp_min(1e-30)
    return (centred @ directions[:count].T).float(), shares[:count].float()


def plot_embedding(
    model: Any, tokenizer: Any, ids: Sequence[int], path: Path, *, shown: int = SHOWN
) -> Path | None:
    """The embeddings of the first `shown` of `ids` along their two principal components.

    Vectors are taken by their direction, as cosines do. None without an embedding, or for fewer
    than three tokens.
    """
    chosen = list(dict.fromkeys(ids))[:shown]
    if getattr(model, "token_embedding", None) is None or len(chosen) < 3:
        return None
    table = model.token_embedding.weight.detach().float().cpu()[chosen]
    table = table / table.norm(dim=1, keepdim=True).clamp_min(1e-12)
    places, shares = principal_components(table)
    with drawing(path, WIDTH, 5) as figure:
        axes = figure.subplots()
        axes.plot(places[:, 0], places[:, 1], ".", color=INK, markersize=3, alpha=0.7)
        for token, (x, y) in zip(chosen, places.tolist(), strict=True):
            axes.annotate(
                visible(token_label(tokenizer, token)),
                (x, y),
                textcoords="offset points",
                xytext=(3, 2),
                color=BLUE,
                fontsize=9,
            )
        first, second = (f"{share:.0%} of the variance" for share in shares.tolist())
        axes.set(xlabel=f"first principal component ({first})")
        axes.set(ylabel=f"second principal component ({second})")
        axes.set_title(f"embeddings of the {len(chosen)} most frequent tokens")
        axes.margins(0.08)
    return path
