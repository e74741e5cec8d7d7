"""The plot of tokenizers compared."""

from __future__ import annotations

from pathlib import Path

from gptpy.report.style import LINES, drawing
from gptpy.tokenizer.comparison import Comparison

HATCHES = ("", "//", "\\\\", "x", "-")
"""Bars are told apart without colour, too."""


def plot_comparison(comparison: Comparison, path: Path) -> Path:
    """Bytes per token and tokens a word of every tokenizer on every text, as a picture at `path`.

    Texts stand side by side, each with one bar a tokenizer.
    """
    texts, names = list(comparison.sizes), list(comparison.vocabularies)
    width = 0.8 / len(names)
    with drawing(path, 7, 2.2 + 0.25 * len(names)) as figure:
        for axes, (key, label) in zip(
            figure.subplots(1, 2),
            [("bytes_per_token", "bytes per token"), ("fertility", "tokens a word")],
            strict=True,
        ):
            for i, name in enumerate(names):
                places = [at + (i - (len(names) - 1) / 2) * width for at in range(len(texts))]
                heights = [getattr(comparison.readings[name, text], key) for text in texts]
                title = f"{name} ({comparison.vocabularies[name]:,} ids)"
                drawn = axes.bar(
                    places, heights, width * 0.9, label=title, color=LINES[i % len(LINES)],
                    hatch=HATCHES[i % len(HATCHES)], edgecolor="white", linewidth=0,
                )  # fmt: skip
                if len(names) * len(texts) <= 8:
                    axes.bar_label(drawn, fmt="%.2f", fontsize=8)
            axes.set_xticks(range(len(texts)), [Path(text).name for text in texts])
            axes.set_ylabel(label)
            axes.grid(visible=False, axis="x")
        handles, titles = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, titles, loc="outside upper center", ncols=2)
    return path
