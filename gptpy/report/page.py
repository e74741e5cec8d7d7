"""One HTML page of a run that needs nothing else: to read, to keep, to send to somebody."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from gptpy.inference import glance
from gptpy.inference.page import FOLDER as PAGE
from gptpy.report import facts
from gptpy.report.attention import sharpest, weights_of
from gptpy.report.bundle import bundled
from gptpy.report.explorer import attention_of, likelihoods
from gptpy.report.pictures import draw_curves, draw_tables
from gptpy.report.shown import SHOWN_TOKENS, shown_ids
from gptpy.report.style import has_matplotlib
from gptpy.runs.opening import Loaded
from gptpy.storage import atomic

TEMPLATE = Path(__file__).resolve().parent / "template"
FILE_NAME = "report.html"
LIKELY_TOKENS = 160
"""Of the text whose tokens are coloured."""
PARTS = (
    ("glance", "At a glance"),
    ("curves", "Curves"),
    ("samples-part", "Samples"),
    ("tokens", "Tokens"),
    ("attention", "Attention"),
    ("tokenizer", "Tokenizer"),
    ("inside", "Inside"),
    ("again", "Reproduce"),
    ("settings", "Configuration"),
)
# Title, and what a picture shows for those who do not see it
CAPTIONS = {
    "schedule": (
        "Learning rate and speed",
        "Learning rate as a share of its peak, and tokens per second, over the steps.",
    ),
    "positions": (
        "Positions",
        "What the model is given of positions, as a heat map, and how alike two positions are by "
        "their distance.",
    ),
    "neighbours": ("Nearest tokens", "Tokens and those with the most similar embeddings."),
    "embedding": (
        "Map of the embedding",
        "The most frequent tokens along the two principal components of their embeddings.",
    ),
}


def write_report(
    run_dir: Path, loaded: Loaded, path: Path | None = None, *, texts: Sequence[str] = ()
) -> Path:
    """Write the report of a run as one HTML file, by default `report.html` in the run's folder.

    `texts` are what attention and probabilities are shown on (default: the beginning of the
    validation data). Pictures need matplotlib; without it the page has none. Raises `ConfigError`
    for a text without a token. Returns the path.
    """
    path = run_dir / FILE_NAME if path is None else path
    shown = [shown_ids(loaded, text, LIKELY_TOKENS) for text in (*texts,) or (None,)]
    data: dict[str, Any] = {
        "curve": glance.read_curve(run_dir / "metrics.jsonl"),
        "attention": _attention(loaded, texts, shown),
        "tokens": likelihoods(loaded, shown[0]) if len(shown[0]) > 1 else [],
        **_first_head(loaded, shown[0][:SHOWN_TOKENS]),
    }
    has_curve = bool(data["curve"]["training"] or data["curve"]["validation"])
    told = facts.of_run(run_dir, loaded, shown[0])
    curves, pictures = _pictures(run_dir, loaded, shown[0])
    script = bundled(TEMPLATE / "report.js", PAGE)
    values: dict[str, Any] = {
        **told,
        "has_curve": has_curve,
        "curves": curves,
        "pictures": pictures,
        "has_tokens": bool(data["tokens"]),
        "has_attention": bool(data["attention"]),
        "text_source": _source_of(texts),
        "style": Markup("\n".join(_text(name) for name in ("base.css", "parts.css", "report.css"))),
        "script": Markup(script),
        "script_hash": Markup(_hash(script)),
        "data": Markup(_json(data)),
    }
    there = {
        "curves": has_curve,
        "samples-part": bool(told["samples"]),
        "tokens": values["has_tokens"],
        "attention": values["has_attention"],
        "inside": bool(pictures),
    }
    values["parts"] = [part for part in PARTS if there.get(part[0], True)]
    environment = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True)
    page = environment.get_template("report.html").render(values)
    atomic.write_text(path, page)
    return path


def _attention(
    loaded: Loaded, texts: Sequence[str], shown: Sequence[list[int]]
) -> list[dict[str, Any]]:
    names = [" ".join(text.split())[:40] for text in texts] or ["validation data"]
    maps = [attention_of(loaded, ids[:SHOWN_TOKENS]) for ids in shown]
    pairs = zip(names, maps, strict=True)
    return [{"name": name, "kinds": kinds} for name, kinds in pairs if kinds]


def _first_head(loaded: Loaded, ids: list[int]) -> dict[str, int]:
    """The head that the explorer opens with: the sharpest one of self-attention."""
    if loaded.config.model.architecture in ("bigram", "encoder-decoder"):
        return {"first_layer": 0, "first_head": 0}
    layer, head = sharpest(weights_of(loaded.model, ids, "self"), "self")
    return {"first_layer": layer, "first_head": head}


def _source_of(texts: Sequence[str]) -> str:
    return "The text that was given." if texts else "The beginning of the text that was held out."


def _pictures(
    run_dir: Path, loaded: Loaded, ids: list[int]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Curves that the page does not draw itself, and pictures of the model's inside."""
    if not has_matplotlib():
        return [], []
    with tempfile.TemporaryDirectory(prefix="gptpy-report-") as name:
        folder = Path(name)
        curves = draw_curves(run_dir, folder, ".svg", loss=False)
        tables = draw_tables(loaded, ids, folder, ".svg")
        return [_picture(path) for path in curves], [_picture(path) for path in tables]


def _picture(path: Path) -> dict[str, str]:
    title, alt = CAPTIONS[path.stem]
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return {"title": title, "alt": alt, "data": f"data:image/svg+xml;base64,{data}"}


def _text(name: str) -> str:
    """A style sheet of ours, or of the server's page."""
    folder = TEMPLATE if (TEMPLATE / name).is_file() else PAGE
    return (folder / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """What the page's policy allows to run: this script alone."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}"


def _json(data: Any) -> str:
    """JSON inside an HTML element: nothing in it ends the element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
