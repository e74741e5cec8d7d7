"""Curves of a run: loss, learning rate and speed; and the learning rate before a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.report.style import BLUE, GREEN, INK, ORANGE, WIDTH, drawing
from gptpy.runs.metrics import bits_per_nat


def plot_loss(rows: Sequence[dict[str, Any]], path: Path, *, title: str = "") -> Path:
    """Training and validation loss over steps, from the rows of `metrics.jsonl`.

    Every evaluation is a mark. Where the evaluations know bits per byte, a second axis has them.
    Raises `ConfigError` where there is nothing to plot.
    """
    steps = [row for row in rows if row.get("kind") == "step"]
    evals = [row for row in rows if row.get("kind") == "eval"]
    # A final score with another stride gives tokens more context: it is not a point of the curve
    closer = [row for row in evals if row.get("stride") != evals[0].get("stride")]
    evals = [row for row in evals if row not in closer]
    if not steps and not evals:
        raise ConfigError("there is nothing to plot: metrics.jsonl holds no step")
    x = [row["step"] for row in steps]
    y = [float(row["loss"]) for row in steps]
    mean = smoothed(y, smoothing_weight(len(y)))
    with drawing(path, WIDTH, 3.8) as figure:
        axes = figure.subplots()
        axes.plot(x, y, "-", color=INK, alpha=0.45, linewidth=0.8, label="training, each logged")
        axes.plot(x, mean, "-", color=BLUE, label="training, smoothed")
        if evals:
            at = [row["step"] for row in evals]
            losses = [row["val_loss"] for row in evals]
            label = "validation" + ("" if closer else _bits(evals[-1]))
            axes.plot(at, losses, "--o", color=ORANGE, markersize=5, label=label)
        for row in closer[-1:]:
            label = f"validation, windows moved on by {row['stride']}{_bits(row)}"
            axes.plot([row["step"]], [row["val_loss"]], "*", color=ORANGE, ms=11, label=label)
        axes.set(xlabel="step", ylabel="loss (nats per token)", title=title)
        low = min([*mean, *(row["val_loss"] for row in [*evals, *closer])])
        top = max([*y[:1], low + 1]) * 1.02
        axes.set_ylim(low - 0.09 * (top - low), top)
        ratio = bits_per_nat([*evals, *closer])
        if ratio is not None:
            both = (lambda nats: nats * ratio, lambda bits: bits / ratio)
            axes.secondary_yaxis("right", functions=both).set_ylabel("bits per byte")
        axes.legend()
    return path


def _bits(row: dict[str, Any]) -> str:
    """What the legend says of a run's last score."""
    bits = row.get("bits_per_byte")
    return f", {bits:.3f} bits per byte at the end" if isinstance(bits, float) else ""


def plot_schedule(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Learning rate and tokens per second over steps, as a run has logged them."""
    steps = [row for row in rows if row.get("kind") == "step"]
    if not steps:
        raise ConfigError("there is nothing to plot: metrics.jsonl holds no step")
    with drawing(path, WIDTH, 3.8) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        x = [row["step"] for row in steps]
        upper.plot(x, [row["lr_factor"] for row in steps], "-", color=BLUE)
        upper.set(ylabel="learning rate / peak", ylim=(0, 1.05))
        lower.plot(x, [row["tokens_per_second"] for row in steps], "-", color=GREEN)
        lower.set(xlabel="step", ylabel="tokens per second")
        lower.set_ylim(bottom=0)
    return path


def plot_plan(
    points: Sequence[tuple[float, float]],
    path: Path,
    *,
    unit: str,
    rates: Sequence[tuple[str, float]],
    title: str = "",
) -> Path:
    """The learning rate of a run that has not begun.

    `points`: (place in the run in `unit`, factor on the peak); `rates`: names of optimisers and
    their peak rates, a line each.
    """
    if not points:
        raise ConfigError("there is nothing to plot: this run has no step")
    with drawing(path, WIDTH, 3.2) as figure:
        axes = figure.subplots()
        x = [place for place, _ in points]
        for name, peak in rates:
            axes.plot(x, [peak * factor for _, factor in points], label=f"{name}, peak {peak:g}")
        axes.set(xlabel=unit, ylabel="learning rate", title=title)
        if len(rates) > 1:
            axes.set_yscale("log")
            lowest = min(peak for _, peak in rates)
            axes.set_ylim(bottom=lowest * 0.01)
        else:
            axes.set_ylim(0, rates[0][1] * 1.06)
        axes.legend()
    return path


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
