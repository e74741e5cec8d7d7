"""Plots of a run: loss, learning rate, attention weights, position encoding, nearest tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.data.dataset import Batch, number_documents
from gptpy.model.maps import attention_maps
from gptpy.storage import atomic


def load_drawing() -> None:
    """Load matplotlib ahead of its first use; does nothing without it.

    Its first use on a machine builds a list of fonts, which may take many seconds.
    """
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure
        import matplotlib.font_manager  # noqa: F401
    except ImportError:
        return


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure that needs no display; `ConfigError` without the `plot` extra."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("plots need matplotlib: pip install 'gptpy-lm[plot]'") from None
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure as `path`, in the format of its name; PNG for a name without one.

    Raises `ConfigError` for a format that matplotlib does not write.
    """
    kind, known = path.suffix[1:].lower() or "png", figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ConfigError(f"{path}: expected a name that ends in one of {', '.join(sorted(known))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.file(path) as out:
        figure.savefig(out, format=kind)
    return path


def plot_loss(rows: Sequence[dict[str, Any]], path: Path, *, title: str = "") -> Path:
    """Training and validation loss over steps, from the rows of `metrics.jsonl`."""
    steps = [row for row in rows if row.get("kind") == "step"]
    evals = [row for row in rows if row.get("kind") == "eval"]
    # A final score with another stride gives tokens more context: it is not a point of the curve
    closer = [row for row in evals if row.get("stride") != evals[0].get("stride")]
    evals = [row for row in evals if row not in closer]
    if not steps and not evals:
        raise ConfigError("there is nothing to plot: metrics.jsonl holds no step")
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    x = [row["step"] for row in steps]
    y = [float(row["loss"]) for row in steps]
    mean = smoothed(y, smoothing_weight(len(y)))
    axes.plot(x, y, color="0.75", linewidth=0.8, label="training, each step logged")
    axes.plot(x, mean, color="C0", label="training, smoothed")
    if evals:
        at = [row["step"] for row in evals]
        axes.plot(at, [row["val_loss"] for row in evals], "o-", color="C3", label="validation")
    for row in closer[-1:]:
        label = f"validation, windows moved on by {row['stride']}"
        axes.plot([row["step"]], [row["val_loss"]], "*", color="C3", markersize=10, label=label)
    last = [*evals, *closer][-1:]
    bits = last[0].get("bits_per_byte") if last else None
    if bits is not None:
        axes.annotate(
            f"{bits:.3f} bits/byte",
            (last[0]["step"], last[0]["val_loss"]),
            textcoords="offset points",
            xytext=(-4, 10),
            ha="right",
        )
    axes.set(xlabel="step", ylabel="loss (nats per token)", title=title)
    low = min([*mean, *(row["val_loss"] for row in [*evals, *closer])])
    axes.set_ylim(low - 0.15, max([*y[:1], low + 1]) * 1.02)
    axes.grid(alpha=0.3)
    axes.legend()
    return save_figure(figure, path)


def plot_schedule(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Learning rate and tokens per second over steps."""
    steps = [row for row in rows if row.get("kind") == "step"]
    if not steps:
        raise ConfigError("there is nothing to plot: metrics.jsonl holds no step")
    figure = new_figure(7, 4.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    x = [row["step"] for row in steps]
    upper.plot(x, [row["lr_factor"] for row in steps])
    upper.set(ylabel="learning rate / peak", ylim=(0, 1.05))
    lower.plot(x, [row["tokens_per_second"] for row in steps], color="C1")
    lower.set(xlabel="step", ylabel="tokens per second")
    lower.set_ylim(bottom=0)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    return save_figure(figure, path)


def smoothing_weight(points: int) -> float:
    """The weight for `smoothed` that averages about a fortieth of the curve.

    A longer average would lag behind a curve of few points.
    """
    return 1 - 1 / max(1.0, points / 40)


def smoothed(values: Sequence[float], weight: float = 0.9) -> list[float]:
    """Exponential moving average, divided by the sum of its weights: unbiased at the start."""
    result, mean, mass = [], 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            mean = weight * mean + (1 - weight) * value
            mass = weight * mass + (1 - weight)
        result.append(mean / mass if mass else value)
    return result


def plot_attention(
    model: Any,
    ids: Sequence[int],
    labels: Sequence[str],
    path: Path,
    *,
    layers: int = 4,
    kind: str = "self",
    source: tuple[Sequence[int], Sequence[str]] | None = None,
    end_of_text: int | None = None,
) -> Path:
    """Attention weights as heat maps, one for each head (columns) and layer (rows), on `ids`.

    For an encoder-decoder, `source` is the ids and labels of its source, and `kind` is "self" (in
    the decoder), "cross" (from the decoder to the source) or "encoder". With `end_of_text`, no
    document sees another, as in training with `data.document_mask`. Raises `ConfigError` for a
    model without such layers.
    """
    device = next(model.parameters()).device
    tensor = torch.tensor([list(ids)], device=device)
    inputs = {} if source is None else {"source": torch.tensor([list(source[0])], device=device)}
    if end_of_text is not None:
        inputs = Batch(tensor, tensor, number_documents(tensor, end_of_text)).masks()
    maps = attention_maps(model, tensor, **inputs).get(kind)
    if not maps:
        raise ConfigError(f"this model has no {kind}-attention layer to plot")
    chosen = sorted({round(i * (len(maps) - 1) / max(layers - 1, 1)) for i in range(layers)})
    heads = min(4, maps[0].shape[0])
    there = [repr(label)[1:-1] for label in (source[1] if source and kind != "self" else labels)]
    here = there if kind == "encoder" else [repr(label)[1:-1] for label in labels]
    tall = max(1.2, 3.1 * len(here) / max(len(there), 1))
    figure = new_figure(3.1 * heads + 0.6, tall * len(chosen) + 0.6)
    grid = figure.subplots(len(chosen), heads, squeeze=False)
    for row, layer in enumerate(chosen):
        for head in range(heads):
            axes = grid[row][head]
            # The square root keeps small weights visible, such as 1/32 spread evenly over a row
            axes.imshow(maps[layer][head].sqrt().numpy(), cmap="viridis", vmin=0, vmax=1)
            axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=9)
            axes.set_xticks(range(len(there)), there, rotation=90, fontsize=5)
            axes.set_yticks(range(len(here)), here if head == 0 else [], fontsize=5)
    figure.supxlabel("looked at (colour: square root of the weight)", fontsize=9)
    figure.supylabel("looking", fontsize=9)
    return save_figure(figure, path)


def plot_positions(model: Any, path: Path) -> Path | None:
    """The position encoding as a heat map (positions, dimensions); None for a model without one."""
    kind = model.config.position
    if kind == "learned" and getattr(model, "position_embedding", None) is not None:
        values = model.position_embedding.weight.detach().float().cpu()
        label = "learned position embedding"
    elif kind == "sinusoidal":
        values, label = model.tables["sinusoids"].cpu(), "sinusoidal position encoding"
    elif kind == "rope":
        values, label = model.tables["cos"].cpu(), "cosines of the rotation by pair (RoPE)"
    else:
        return None
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    image = axes.imshow(values.numpy(), aspect="auto", cmap="RdBu", interpolation="nearest")
    axes.set(xlabel="dimension", ylabel="position", title=label)
    figure.colorbar(image)
    return save_figure(figure, path)


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
    chosen = [i for i in dict.fromkeys(ids) if shown is None or i in shown][:16]
    if not chosen or (shown is not None and len(shown) < 2):
        return None
    near = nearest_tokens(model, chosen, among=None if shown is None else sorted(shown))
    width = max(map(len, near))
    cells = [
        [f"{token_label(tokenizer, i)!r} {cosine:.2f}" for i, cosine in row]
        + [""] * (width - len(row))
        for row in near
    ]
    figure = new_figure(8, 0.32 * len(chosen) + 0.6)
    axes = figure.subplots()
    axes.axis("off")
    whose = "" if trained is None else " of the training text"
    axes.set_title(f"nearest tokens{whose} in the embedding (cosine)", fontsize=10)
    labels = [repr(token_label(tokenizer, i)) for i in chosen]
    grid = axes.table(cellText=cells, rowLabels=labels, bbox=(0.0, 0.0, 1.0, 1.0), cellLoc="left")
    grid.auto_set_font_size(False)
    grid.set_fontsize(8)
    return save_figure(figure, path)
