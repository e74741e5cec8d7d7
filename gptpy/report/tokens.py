"""A text whose tokens are coloured: by turns, or by their probability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from unicodedata import east_asian_width

from gptpy.report.style import WIDTH, drawing, visible

TURNS = ("#c4dbf5", "#fbe6c4", "#cfeadd", "#f2d9e8")
BOUNDS = (0.9, 0.5, 0.2, 0.05, 0.01, 0.0)
LIKELY = ("#a9cbf0", "#cfe1f5", "#eeeee6", "#fbe3b0", "#f6c168", "#ee9440")
"""Blue is likely, orange is not; of at least the probabilities in `BOUNDS`."""
NAMES = ("90 % and more", "50 to 90 %", "20 to 50 %", "5 to 20 %", "1 to 5 %", "below 1 %")
DARK = "#1c2128"
POINTS = 10.0
_ADVANCE = 0.602
"""Width of a character of a monospaced font, as a share of its size."""


def plot_tokens(
    tokens: Sequence[str],
    path: Path,
    *,
    probabilities: Sequence[float | None] | None = None,
    width: float = WIDTH,
    title: str = "",
) -> Path:
    """The texts of `tokens` in reading order, each on a tile of its own.

    Tiles take turns in four colours, or show `probabilities` (0..1; None: not known, as of the
    first token) with a key below. A token with a line break ends its line.
    """
    step = POINTS * _ADVANCE / 72
    columns = int(width / step) - 1
    lines = _lines(tokens, columns)
    height = 0.27 * len(lines) + (0.35 if title else 0.1) + (0.4 if probabilities else 0)
    with drawing(path, width, height) as figure:
        axes = figure.subplots()
        axes.axis("off")
        rows = len(lines) + (1.4 if probabilities else 0)
        axes.set(xlim=(0, columns), ylim=(rows, 0), title=title)
        for row, line in enumerate(lines):
            for index, column, text in line:
                if probabilities is None:
                    colour = TURNS[index % len(TURNS)]
                else:
                    colour = colour_of(probabilities[index])
                _tile(axes, column, row, text, colour)
        if probabilities is not None:
            column = 0
            for colour, name in zip(LIKELY, NAMES, strict=True):
                _tile(axes, column, rows - 0.9, name, colour)
                column += len(name) + 1
    return path


def colour_of(probability: float | None) -> str:
    """The tile of a token of this probability."""
    if probability is None:
        return LIKELY[2]
    return next(c for bound, c in zip(BOUNDS, LIKELY, strict=True) if probability >= bound)


def _tile(axes: object, column: float, row: float, text: str, colour: str) -> None:
    from matplotlib.patches import Rectangle

    wide = _columns(text)
    tile = Rectangle((column + 0.04, row + 0.08), wide - 0.08, 0.84, color=colour, linewidth=0)
    axes.add_patch(tile)  # type: ignore[attr-defined]
    axes.text(  # type: ignore[attr-defined]
        column + wide / 2,
        row + 0.52,
        text,
        ha="center",
        va="center",
        family="monospace",
        fontsize=POINTS,
        color=DARK,
    )


def _columns(text: str) -> int:
    """Columns of a terminal that `text` takes."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text) or 1


def _lines(tokens: Sequence[str], columns: int) -> list[list[tuple[int, int, str]]]:
    """`(number of the token, column, what is shown)` line by line."""
    lines: list[list[tuple[int, int, str]]] = [[]]
    at = 0
    for index, token in enumerate(tokens):
        text = visible(token)
        if at + _columns(text) > columns and lines[-1]:
            lines.append([])
            at = 0
        lines[-1].append((index, at, text))
        at += _columns(text)
        if "\n" in token:
            lines.append([])
            at = 0
    return lines if lines[-1] else lines[:-1] or [[]]
