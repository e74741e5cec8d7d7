"""One style for every plot: legible on white and on near-black, told apart without colour.

The background is transparent, text is a grey that both themes can read, lines have a contrast of at
least 3 with both and differ in their dashes as well as in their colours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from gptpy.config.errors import ConfigError
from gptpy.storage import atomic

INK = "#777c85"
"""Text, axes and ticks."""
BLUE, ORANGE, GREEN, PINK, OLIVE = "#1f6fc2", "#c8500c", "#2ba184", "#cb70b4", "#a5962a"
LINES = (BLUE, ORANGE, GREEN, PINK, OLIVE)
"""Colours of lines and bars, in the order in which plots take them."""
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 2, 2)), (0, (1, 1)))
WIDTH = 7.0
"""Inches of a plot that fills the width of a page: 672 pixels as SVG."""

Scale = Literal["weights", "values", "signed"]
# How numbers become colours: weights 0..1 by their square root, which keeps small ones visible
COLOUR_MAPS = {"weights": "viridis", "values": "viridis", "signed": "RdBu_r"}


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


def has_matplotlib() -> bool:
    """Whether the extra `plot` is installed."""
    return find_spec("matplotlib") is not None


def settings() -> Any:
    """The style as matplotlib's rcParams, for `matplotlib.rc_context(settings())`."""
    from cycler import cycler

    return {
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "axes.titlecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": INK,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.prop_cycle": cycler(color=LINES, linestyle=DASHES),
        "lines.linewidth": 1.8,
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.labelsize": 10,
        "legend.fontsize": 9,
        "image.cmap": "viridis",
        "image.interpolation": "nearest",
        "svg.fonttype": "none",
        # With it the same plot is the same file
        "svg.hashsalt": "gptpy",
    }


@contextmanager
def drawing(path: str | Path, width: float = WIDTH, height: float = 3.8) -> Iterator[Any]:
    """A matplotlib figure in our style, written to `path` at the end of the `with` block.

    `width` and `height` are in inches; the format is that of the name (`.svg`, `.png`, ...), PNG
    for a name without one. Nothing needs a display, and the same plot gives the same bytes. Raises
    `ConfigError` without the extra `plot`, and for a format that matplotlib does not write.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("plots need matplotlib: pip install 'gptpy-lm[plot]'") from None
    path = Path(path)
    with matplotlib.rc_context(settings()), warnings.catch_warnings():
        # Tokens may hold any character; the SVG's reader has more fonts than we
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, height), dpi=144, layout="constrained")
        yield figure
        save_figure(figure, path)


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure as `path`, in the format of its name; PNG for a name without one."""
    kind, known = path.suffix[1:].lower() or "png", figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ConfigError(f"{path}: expected a name that ends in one of {', '.join(sorted(known))}")
    # The day of the drawing would make every file a new one
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.file(path) as out:
        figure.savefig(out, format=kind, metadata=undated)
    return path


def heat_map(
    axes: Any,
    values: Any,
    *,
    scale: Scale = "values",
    x: Sequence[str] | None = None,
    y: Sequence[str] | None = None,
    hidden: Any = None,
    size: float = 8,
    limits: tuple[float, float] | None = None,
) -> Any:
    """Draw a matrix `(rows, columns)` as colours into `axes`; returns the image, for a colour bar.

    `scale`: "weights" are 0..1, coloured by their square root; "signed" has white at zero. `x` and
    `y` label columns (on top, upright) and rows; `hidden`, a bool matrix, leaves cells empty, as
    those a mask forbids. `size` is that of the labels in points; `limits` the lowest and highest
    colour of "values" and "signed".
    """
    import numpy as np
    from matplotlib.colors import Normalize, PowerNorm

    matrix = np.ma.masked_invalid(np.asarray(values, dtype=float))
    if hidden is not None:
        matrix = np.ma.masked_where(np.asarray(hidden, dtype=bool), matrix)
    low, high = limits or (None, None)
    if scale == "weights":
        norm: Any = PowerNorm(0.5, vmin=0, vmax=1)
    elif scale == "signed":
        most = float(abs(matrix).max()) if limits is None else max(abs(v) for v in limits)
        norm = Normalize(-(most or 1.0), most or 1.0)
    else:
        norm = Normalize(low, high)
    aspect = "equal" if x is not None or y is not None else "auto"
    image = axes.imshow(matrix, cmap=COLOUR_MAPS[scale], norm=norm, aspect=aspect)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if x is not None:
        axes.xaxis.tick_top()
        axes.tick_params(labeltop=True)  # also where shared axes have switched labels off
        axes.set_xticks(range(len(x)), [visible(label) for label in x], rotation=90, fontsize=size)
    if y is not None:
        axes.set_yticks(range(len(y)), [visible(label) for label in y], fontsize=size)
    if x is not None or y is not None:
        axes.tick_params(length=0)
    return image


def colour_bar(figure: Any, image: Any, axes: Any, label: str) -> Any:
    """The key of a heat map's colours, at the right of `axes` (one, or a list)."""
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar


_SIGNS = {ord(" "): "·", ord("\n"): "↵", ord("\t"): "⇥", ord("\r"): "␍", ord("$"): r"\$"}


def visible(token: str) -> str:
    """A token's text as a label: spaces and line breaks as signs, long ones cut, nothing else."""
    short = token if len(token) <= 14 else token[:13] + "…"
    signs = short.translate(_SIGNS)
    return "".join(c if c.isprintable() or c in "↵⇥␍" else "�" for c in signs)
