"""All plots of a run, and one HTML page that contains them."""

from __future__ import annotations

import base64
import html
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gptpy.config.errors import ConfigError
from gptpy.data.errors import DataError
from gptpy.data.material import open_material
from gptpy.data.prepared import open_splits
from gptpy.data.rows import Masked, Row
from gptpy.report.plots import (
    plot_attention,
    plot_loss,
    plot_neighbours,
    plot_positions,
    plot_schedule,
    token_label,
)
from gptpy.runs.metrics import read_metrics
from gptpy.runs.opening import Loaded
from gptpy.storage import atomic

SHOWN_TOKENS = 32


def draw_run(run_dir: Path, loaded: Loaded, *, text: str | None = None) -> list[Path]:
    """Write the plots that this run has data for into `plots/`, and `report.html`.

    Attention is shown on `text`, or on the beginning of the validation data. Raises `ConfigError`
    for a `text` without a token. Returns the paths.
    """
    rows = list(read_metrics(run_dir / "metrics.jsonl"))
    plots = run_dir / "plots"
    drawn = []
    if any(row.get("kind") == "step" for row in rows):
        drawn.append(plot_loss(rows, plots / "loss.png", title=run_dir.name))
        drawn.append(plot_schedule(rows, plots / "schedule.png"))
    ids = _shown_ids(loaded, text)
    labels = _labels(loaded, ids)
    architecture = loaded.config.model.architecture
    if architecture == "encoder-decoder":
        drawn += _draw_translation(loaded, ids, plots)
    elif architecture != "bigram":
        border = loaded.end_of_text if loaded.config.data.document_mask else None
        path = plots / "attention.png"
        drawn.append(plot_attention(loaded.model, ids, labels, path, end_of_text=border))
    positions = plot_positions(loaded.model, plots / "positions.png")
    if positions is not None:
        drawn.append(positions)
    neighbours = plot_neighbours(
        loaded.model,
        loaded.tokenizer,
        ids,
        plots / "neighbours.png",
        trained=trained_tokens(loaded),
    )
    if neighbours is not None:
        drawn.append(neighbours)
    drawn.append(write_report(run_dir, drawn))
    return drawn


def _shown_ids(loaded: Loaded, text: str | None) -> list[int]:
    limit = min(SHOWN_TOKENS, loaded.config.model.block_size)
    if text is not None:
        ids = loaded.tokenizer.encode_ordinary(text)[:limit]
        if not ids:
            raise ConfigError("--text is empty: there is no token to show attention on")
        return ids
    prompt = loaded.config.train.sample_prompt
    if loaded.config.data.form == "stream" or not prompt.strip():
        try:
            ids = _own_ids(loaded)[:limit]
        except (ConfigError, DataError):
            ids = []  # the run's data is no longer there
        if ids:
            return ids
    if not prompt.strip():
        prompt = "The quick brown fox jumps over the lazy dog."
    try:
        return loaded.tokenizer.encode_ordinary(prompt)[: limit - 1]
    except ConfigError:  # a tokenizer of few characters, or of numbers
        return list(range(min(limit - 1, loaded.tokenizer.n_vocab)))


def _own_ids(loaded: Loaded) -> list[int]:
    """The beginning of the validation data, or the first row."""
    if loaded.config.data.form == "stream":
        return open_splits(loaded.config, loaded.folder).validation.joined()[:SHOWN_TOKENS].tolist()
    row = _own_rows(loaded)[0]
    return (row.inputs if row.source is None else row.source[:-1]).tolist()


def _own_rows(loaded: Loaded) -> list[Row]:
    data = open_material(loaded.config, loaded.folder, fixed_vocabulary=True).dataset
    return (data.data if isinstance(data, Masked) else data).rows


def trained_tokens(loaded: Loaded, at_most: int = 1 << 24) -> list[int] | None:
    """The ids that occur in the training data, in order; None where that is not known.

    Of more than `at_most` ids only that many are read, from every shard its share. They are not
    known for a run that began with another run's weights, or whose data is no longer there.
    """
    if loaded.config.train.init:
        return None
    try:
        if loaded.config.data.form == "stream":
            shards = open_splits(loaded.config, loaded.folder).train.shards
            share = min(1.0, at_most / max(1, sum(map(len, shards))))
            parts = [shard[: math.ceil(len(shard) * share)] for shard in shards]
        else:
            parts = [
                ids
                for row in _own_rows(loaded)
                for ids in (row.inputs, row.targets, row.source)
                if ids is not None
            ]
    except (ConfigError, DataError):
        return None
    found = np.zeros(loaded.config.model.vocab_size, bool)
    for part in parts:
        ids = np.unique(part)
        found[ids[ids >= 0]] = True  # targets that are not scored are negative
    return np.flatnonzero(found).tolist()


def _labels(loaded: Loaded, ids: list[int]) -> list[str]:
    end = loaded.end_of_text
    return ["<end>" if i == end else token_label(loaded.tokenizer, i) for i in ids]


def _draw_translation(loaded: Loaded, ids: list[int], plots: Path) -> list[Path]:
    """The attention of an encoder-decoder on the source `ids` and its greedy translation."""
    end = loaded.end_of_text
    assert end is not None, "a run on pairs has an end"
    read = torch.tensor([[*ids, end]])
    begin = torch.tensor([[end]])
    written = loaded.model.generate(begin, SHOWN_TOKENS, temperature=0, eos_id=end, source=read)
    target = written[0, :-1].tolist()
    source = ([*ids, end], _labels(loaded, [*ids, end]))
    names = {"cross": "attention.png", "self": "attention-decoder.png"}
    return [
        plot_attention(
            loaded.model, target, _labels(loaded, target), plots / name, kind=kind, source=source
        )
        for kind, name in {**names, "encoder": "attention-encoder.png"}.items()
    ]


def write_report(run_dir: Path, pictures: list[Path]) -> Path:
    """Write `report.html`: summary, pictures (inside the file), samples, configuration."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{html.escape(run_dir.name)}</title>",
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem}table{border-collapse:collapse}td{padding:.2rem 1rem .2rem 0;"
        "border-bottom:1px solid #ddd}img{max-width:100%}pre{background:#f6f6f6;padding:1rem;"
        "white-space:pre-wrap}</style>",
        f"<h1>{html.escape(run_dir.name)}</h1>",
    ]
    summary = run_dir / "summary.json"
    if summary.is_file():
        try:
            rows = json.loads(summary.read_text(encoding="utf-8")).items()
        except (ValueError, AttributeError) as error:
            raise ConfigError(f"{summary}: is damaged ({error}): remove it") from None
        cells = "".join(f"<tr><td>{html.escape(str(k))}<td>{_shown(v)}" for k, v in rows)
        parts.append(f"<table>{cells}</table>")
    for picture in pictures:
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        name = html.escape(picture.stem)
        parts.append(f'<h2>{name}</h2><img alt="{name}" src="data:image/png;base64,{data}">')
    for name in ("samples.txt", "config.toml"):
        if (run_dir / name).is_file():
            text = (run_dir / name).read_text(encoding="utf-8", errors="replace")
            parts.append(f"<h2>{name}</h2><pre>{html.escape(text)}</pre>")
    path = run_dir / "report.html"
    atomic.write_text(path, "\n".join(parts) + "\n")
    return path


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))
