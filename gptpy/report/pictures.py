"""All pictures of a run."""

from __future__ import annotations

from pathlib import Path

from gptpy.report.attention import plot_attention, plot_head
from gptpy.report.curves import plot_loss, plot_schedule
from gptpy.report.embedding import plot_embedding, plot_neighbours
from gptpy.report.positions import plot_positions
from gptpy.report.shown import (
    labels_of,
    most_frequent,
    shown_ids,
    token_counts,
    translated,
)
from gptpy.runs.metrics import read_metrics
from gptpy.runs.opening import Loaded

GRID_TOKENS = 20
"""Tokens of the small maps: more labels could not be read."""


def draw_run(
    run_dir: Path,
    loaded: Loaded,
    *,
    text: str | None = None,
    layer: int | None = None,
    head: int | None = None,
) -> list[Path]:
    """Write the pictures that this run has data for into `plots/`; returns their paths.

    Attention is shown on `text`, or on the beginning of the validation data: a small map of each
    head, and one head large, `layer` and `head` from 0 (default: the sharpest). Raises
    `ConfigError` for a `text` without a token, or a head that the model does not have.
    """
    plots = run_dir / "plots"
    drawn = draw_curves(run_dir, plots)
    ids = shown_ids(loaded, text)
    architecture = loaded.config.model.architecture
    if architecture == "encoder-decoder":
        drawn += _draw_translation(loaded, ids, plots, layer, head)
    elif architecture != "bigram":
        border = loaded.end_of_text if loaded.config.data.document_mask else None
        few, labels = ids[:GRID_TOKENS], labels_of(loaded, ids)
        drawn.append(
            plot_attention(
                loaded.model,
                few,
                labels[: len(few)],
                plots / "attention.png",
                end_of_text=border,
            )
        )
        drawn.append(
            plot_head(
                loaded.model,
                ids,
                labels,
                plots / "attention-head.png",
                layer=layer,
                head=head,
                end_of_text=border,
            )
        )
    return drawn + draw_tables(loaded, ids, plots)


def draw_curves(
    run_dir: Path, folder: Path, suffix: str = ".png", *, loss: bool = True
) -> list[Path]:
    """Loss and schedule, where the run has logged steps."""
    rows = list(read_metrics(run_dir / "metrics.jsonl"))
    if not any(row.get("kind") == "step" for row in rows):
        return []
    schedule = plot_schedule(rows, folder / f"schedule{suffix}")
    if not loss:
        return [schedule]
    return [plot_loss(rows, folder / f"loss{suffix}", title=run_dir.name), schedule]


def draw_tables(loaded: Loaded, ids: list[int], folder: Path, suffix: str = ".png") -> list[Path]:
    """Positions, nearest tokens of `ids`, and the map of the embedding."""
    model, tokenizer = loaded.model, loaded.tokenizer
    position = getattr(model, "position_embedding", None)
    learned = None if position is None else position.weight
    counts = token_counts(loaded)
    trained = None if counts is None else [i for i, n in enumerate(counts.tolist()) if n]
    frequent = ids if counts is None else most_frequent(counts, 70)
    found = [
        plot_positions(model.config, folder / f"positions{suffix}", learned=learned),
        plot_neighbours(model, tokenizer, ids, folder / f"neighbours{suffix}", trained=trained),
        plot_embedding(model, tokenizer, frequent, folder / f"embedding{suffix}"),
    ]
    return [path for path in found if path is not None]


def _draw_translation(
    loaded: Loaded, ids: list[int], plots: Path, layer: int | None, head: int | None
) -> list[Path]:
    """The attention of an encoder-decoder on the source `ids` and its greedy translation."""
    target, source = translated(loaded, ids)
    labels = labels_of(loaded, target)
    names = {"cross": "attention.png", "self": "attention-decoder.png"}
    drawn = [
        plot_attention(loaded.model, target, labels, plots / name, kind=kind, source=source)
        for kind, name in {**names, "encoder": "attention-encoder.png"}.items()
    ]
    path = plots / "attention-head.png"
    chosen = {"layer": layer, "head": head, "kind": "cross", "source": source}
    return [*drawn, plot_head(loaded.model, target, labels, path, **chosen)]
