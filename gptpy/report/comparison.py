"""The plot of two tokenizers compared."""

from __future__ import annotations

from pathlib import Path

from gptpy.report.style import BLUE, ORANGE, drawing
from gptpy.tokenizer.comparison import Comparison


def plot_comparison(comparison: Comparison, path: Path) -> Path:
    """Bytes per token of both, and how long the tokens of the text are, as a picture at `path`."""
    with drawing(path, 7, 3) as figure:
        bars, lengths = figure.subplots(1, 2, width_ratios=[2, 3])
        sides = [comparison.left, comparison.right]
        drawn = bars.bar(
            range(2), [side.bytes_per_token for side in sides], 0.6, color=[BLUE, ORANGE]
        )
        bars.bar_label(drawn, fmt="%.2f")
        bars.set_xticks(range(2), [f"{side.name}\n{side.n_vocab:,} tokens" for side in sides])
        bars.set_ylabel("bytes per token")
        bars.grid(visible=False, axis="x")
        for side, marker in zip(sides, "os", strict=True):
            share = [100 * count / side.tokens for count in side.lengths[:20]]
            lengths.plot(range(1, len(share) + 1), share, marker=marker, ms=4, label=side.name)
        lengths.set(xlabel="bytes in a token", ylabel="% of the text's tokens")
        lengths.set_ylim(bottom=0)
        lengths.legend()
    return path
