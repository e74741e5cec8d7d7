"""What the report says in words and figures: the run, its samples, its tokenizer, its origin."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from gptpy.inference import glance
from gptpy.report.shown import labels_of, most_frequent, token_counts
from gptpy.report.style import visible
from gptpy.runs import checkpoint
from gptpy.runs.checkpoint import CheckpointError
from gptpy.runs.opening import Loaded

MOST_SAMPLES = 8
RESULTS = {
    "bits_per_byte": "bits per byte",
    "val_loss": "validation loss (nats per token)",
    "best_val_loss": "best validation loss (nats per token)",
    "perplexity": "perplexity per token",
    "accuracy": "accuracy",
    "exact": "rows wholly right",
    "steps": "steps",
    "tokens": "tokens trained on",
    "tokens_per_second": "tokens per second",
    "seconds": "time",
    "stopped": "ended",
}
HEADLINE = ("bits_per_byte", "perplexity", "accuracy", "n_params", "tokens", "seconds")
WORDS = {**RESULTS, "n_params": "parameters"}


def of_run(run_dir: Path, loaded: Loaded, ids: Sequence[int]) -> dict[str, Any]:
    """The values of the template that are text; `ids` is the text that is shown cut."""
    summary = glance.read_summary(run_dir / "summary.json")
    summary.setdefault("n_params", loaded.model.num_parameters())
    samples, left_out = _samples(run_dir)
    results = [(WORDS[key], _figure(key, summary[key])) for key in RESULTS if key in summary]
    tables = [("Results", results)] if results else []
    return {
        "name": run_dir.resolve().name,
        "lead": _lead(loaded, summary),
        "headline": [
            (_figure(key, summary[key]), WORDS[key]) for key in HEADLINE if key in summary
        ],
        "tables": [*tables, ("Model", _model(loaded))],
        "samples": samples,
        "samples_left_out": left_out,
        "tokenizer": _tokenizer(run_dir, loaded, ids),
        "configuration": _without_home((run_dir / "config.toml").read_text(encoding="utf-8")),
        "steps": _steps(loaded),
        "provenance": _provenance(loaded),
    }


def shown(value: Any) -> str:
    """A figure for people: thousands apart, five digits of fractions."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _figure(key: str, value: Any) -> str:
    if key != "seconds" or not isinstance(value, (int, float)):
        return shown(value)
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _lead(loaded: Loaded, summary: dict[str, Any]) -> str:
    c = loaded.config.model
    kind = {"bigram": "A table of bigrams", "decoder": "A GPT"}.get(c.architecture)
    kind = kind or f"An {c.architecture}"
    size = f"with {summary['n_params'] / 1e6:.1f} million parameters"
    if summary["n_params"] < 100_000:
        size = f"with {summary['n_params']:,} parameters"
    trained = f"{summary['tokens']:,} tokens" if "tokens" in summary else f"{loaded.step:,} steps"
    if c.architecture == "bigram":
        return f"{kind} {size}, trained on {trained}."
    return f"{kind} {size}, {c.n_layer} layers, {c.n_embd} wide, trained on {trained}."


def _model(loaded: Loaded) -> list[tuple[str, str]]:
    c = loaded.config.model
    rows: list[tuple[str, Any]] = [
        ("architecture", c.architecture),
        ("checkpoint", f"step {loaded.step:,} ({loaded.reason})"),
        ("vocabulary (tokens)", c.vocab_size),
        ("context (tokens)", c.block_size),
    ]
    if c.architecture != "bigram":
        heads = f"{c.n_head}"
        if c.n_kv_head not in (None, c.n_head):
            heads += f", {c.n_kv_head} for keys and values"
        rows += [
            ("layers", c.n_layer),
            ("heads", heads),
            ("width", c.n_embd),
            ("positions", c.position),
            ("normalisation", c.norm),
            ("activation", c.activation),
        ]
    return [(name, shown(value)) for name, value in rows]


def _samples(run_dir: Path) -> tuple[list[dict[str, str]], int]:
    """The samples of the run by step, at most `MOST_SAMPLES`, and how many are left out."""
    text = glance.read_samples(run_dir / "samples.txt")["text"]
    parts = re.split(r"^--- step (\d+)\n", text, flags=re.MULTILINE)
    losses = {step: f"{loss:.3f}" for step, loss, _ in _evaluations(run_dir)}
    found = []
    for step, sample in zip(parts[1::2], parts[2::2], strict=True):
        title = f"step {int(step):,}"
        found.append({"title": title, "loss": losses.get(int(step), ""), "text": sample.strip()})
    if parts[0].strip():  # a text without a step: the quickstart's
        found.append({"title": "at the end", "loss": "", "text": parts[0].strip()})
    count = min(len(found), MOST_SAMPLES)
    kept = {round(i * (len(found) - 1) / max(count - 1, 1)) for i in range(count)}
    return [found[i] for i in sorted(kept)], len(found) - len(kept)


def _evaluations(run_dir: Path) -> list[tuple[int, float, int | None]]:
    return glance.read_curve(run_dir / "metrics.jsonl")["validation"]


def _tokenizer(run_dir: Path, loaded: Loaded, ids: Sequence[int]) -> dict[str, Any]:
    tokenizer = loaded.tokenizer
    special = sorted(tokenizer.special_tokens_set)
    rows = [
        ("name", str(tokenizer.name)),
        ("vocabulary", f"{tokenizer.n_vocab:,} tokens"),
        ("special tokens", ", ".join(special[:8]) + (" ..." if special[8:] else "") or "none"),
    ]
    counts = token_counts(loaded)
    lists = []
    if counts is not None:
        used = [i for i, n in enumerate(counts.tolist()) if n]
        rows.append(("used in the training data", f"{len(used):,} tokens"))
        sizes = {i: len(tokenizer.decode_bytes([i])) for i in used if i < tokenizer.n_vocab}
        total = sum(int(counts[i]) for i in sizes)
        if total:
            mean = sum(int(counts[i]) * size for i, size in sizes.items()) / total
            rows.append(("bytes per token", f"{mean:.2f}"))
        longest = sorted(sizes, key=lambda i: (-sizes[i], i))[:24]
        frequent = most_frequent(counts, 30)
        lists = [
            ("Most frequent tokens", [visible(x) for x in labels_of(loaded, frequent)]),
            ("Longest tokens", [visible(x) for x in labels_of(loaded, longest)]),
        ]
    pieces = [visible(label) for label in labels_of(loaded, ids)]
    return {"rows": rows, "pieces": pieces, "lists": lists}


def _steps(loaded: Loaded) -> list[dict[str, str]]:
    data = loaded.config.data
    steps = [
        {
            "text": "Install the same version of gptpy (below), and save the configuration of this "
            "page as config.toml."
        }
    ]
    if data.sources:
        names = ", ".join(Path(str(source)).name for source in data.sources)
        steps.append({"text": f"Put the data where the configuration names it: {names}."})
    else:
        steps.append(
            {"text": "Put the prepared data (gptpy prepare) where the configuration names it."}
        )
    end = "On a CPU the same data, settings and versions give the same run to the last bit"
    if loaded.config.train.seconds is not None:
        end += "; this one ended by the clock, so take --train.steps in its place"
    return [
        *steps,
        {"text": "Train:", "command": "gptpy train config.toml -o again"},
        {"text": f"{end}. Write this page again:", "command": "gptpy report again"},
    ]


def _provenance(loaded: Loaded) -> list[tuple[str, str]]:
    rows = [
        ("seed", str(loaded.config.train.seed)),
        ("tokenizer's fingerprint", loaded.tokenizer.fingerprint),
    ]
    try:
        state = checkpoint.read_state(checkpoint.find(loaded.folder, loaded.step))
    except CheckpointError:
        state = {}
    fingerprint = state.get("data", {}).get("fingerprint")
    if fingerprint:
        rows.append(("data's fingerprint", str(fingerprint)))
    versions = [f"{name} {_version(name)}" for name in ("gptpy-lm", "gptpy-bpe", "torch")]
    rows.append(("page made with", f"{', '.join(versions)}, Python {platform.python_version()}"))
    rows.append(("on", f"{platform.system()} {platform.machine()}, {_threads()}"))
    return rows


def _threads() -> str:
    count = torch.get_num_threads()
    return f"{count} thread{'s' if count > 1 else ''}"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of a source tree"


def _without_home(text: str) -> str:
    """The page may be sent to others: whose folder it was is not their business."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text
