"""The plot of two tokenizers compared."""

from __future__ import annotations

from pathlib import Path

from gptpy.report.plots import new_figure, save_figure
from gptpy.tokenizer.comparison import Comparison


def plot_comparison(comparison: Comparison, path: Path) -> Path:
    """Bytes per token of both, and how long the tokens of the text are, as a PNG at `path`."""
    figure = new_figure(9, 3.5)
    bars, lengths = figure.subplots(1, 2)
    sides = [comparison.left, comparison.right]
    places = range(len(sides))
    bars.bar(places, [side.bytes_per_token for side in sides], color=["tab:blue", "tab:orange"])
    bars.set_xticks(places, [f"{side.name}\n{side.n_vocab:,} tokens" for side in sides])
    bars.set_ylabel("bytes per token")
    for side in sides:
        share = [count / side.tokens for count in side.lengths[:20]]
        lengths.plot(range(1, len(share) + 1), share, "o-", markersize=3, label=side.name)
    lengths.set(xlabel="bytes in a token", ylabel="share of the text's tokens")
    lengths.legend()
    return save_figure(figure, path)
