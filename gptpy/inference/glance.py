"""What the page shows of a run at a glance: settings, the loss curve, the samples."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptpy.inference.attention import MOST_TOKENS, kinds_of
from gptpy.runs.metrics import bits_per_nat, read_metrics
from gptpy.runs.opening import Loaded
from gptpy.tokenizer.bpe import bpe_rs

MOST_POINTS = 150
"""Points of the training curve; of a longer one each is the mean of several rows."""
MOST_SAMPLE_BYTES = 64_000
"""The end of `samples.txt` that is shown."""


class Glance:
    """A run's facts for the page. What the files of the run say is read again when they change."""

    def __init__(self, loaded: Loaded, name: str, *, chats: bool) -> None:
        self._loaded, self._name, self._chats = loaded, name, chats
        self._curve: dict[str, Any] = {}
        self._curve_of: tuple[int, int] | None = None
        self._reading = threading.Lock()
        self._parameters: int = loaded.model.num_parameters()

    def facts(self) -> dict[str, Any]:
        """The answer to `GET /page/run`."""
        loaded = self._loaded
        c, folder = loaded.config.model, loaded.folder
        return {
            "name": self._name,
            "step": loaded.step,
            "chosen": loaded.reason,
            "chat": self._chats,
            "model": c.to_dict(),
            "parameters": self._parameters,
            "encodings": ["run", *bpe_rs.list_encoding_names()],
            "summary": read_summary(folder / "summary.json"),
            "curve": self.curve(),
            "samples": read_samples(folder / "samples.txt"),
            "attention": {
                "kinds": kinds_of(c),
                "layers": c.n_layer,
                "encoder_layers": c.encoder_layers,
                "most_tokens": min(MOST_TOKENS, c.block_size),
            },
        }

    def curve(self) -> dict[str, Any]:
        """The answer of `read_curve` for this run."""
        path = self._loaded.folder / "metrics.jsonl"
        try:
            now = path.stat()
        except OSError:
            return read_curve(path)
        version = (now.st_mtime_ns, now.st_size)
        with self._reading:
            if version != self._curve_of:
                self._curve, self._curve_of = read_curve(path), version
            return self._curve


def read_curve(path: Path) -> dict[str, Any]:
    """Loss over steps from `metrics.jsonl`, in nats per token; empty where there is none.

    "training": (step, mean, lowest, highest) a point; "validation": (step, loss, stride of the
    windows or None) a point; "not_finite": rows whose loss is no number; "bits_per_nat": bits per
    byte for each nat per token, or None where that is not known.
    """
    steps: list[tuple[int, float]] = []
    scores: list[tuple[int, float, int | None]] = []
    evaluations: list[dict[str, Any]] = []
    not_finite = 0
    for row in read_metrics(path) if path.is_file() else ():
        key = {"step": "loss", "eval": "val_loss"}.get(str(row.get("kind")))
        if key is None or not isinstance(row.get("step"), int):
            continue
        loss = _number(row.get(key))
        if loss is None:
            not_finite += 1
        elif key == "loss":
            steps.append((row["step"], loss))
        else:
            scores.append((row["step"], loss, row.get("stride")))
            evaluations.append(row)
    return {
        "training": _thinned(steps),
        "validation": scores,
        "not_finite": not_finite,
        "bits_per_nat": bits_per_nat(evaluations),
    }


def _number(value: Any) -> float | None:
    """A finite number, which a metrics file may also hold as a string."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float, float, float]]:
    """At most `MOST_POINTS` points (last step, mean, lowest, highest) of equally many rows."""
    count = min(MOST_POINTS, len(points))
    found = []
    for i in range(count):
        part = points[i * len(points) // count : (i + 1) * len(points) // count]
        losses = [loss for _, loss in part]
        mean = sum(losses) / len(losses)
        found.append((part[-1][0], round(mean, 6), min(losses), max(losses)))
    return found


def read_summary(path: Path) -> dict[str, Any]:
    """The plain values of `summary.json`; empty where there is none or it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: value
        for key, value in found.items()
        if isinstance(value, str | int | bool)
        or (isinstance(value, float) and math.isfinite(value))
    }


def read_samples(path: Path) -> dict[str, Any]:
    """The end of the samples, from the beginning of a line; `cut`: bytes left out before it."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            cut = file.seek(max(0, size - MOST_SAMPLE_BYTES))
            data = file.read(MOST_SAMPLE_BYTES)
    except OSError:
        return {"text": "", "cut": 0}
    if cut:
        _, line, rest = data.partition(b"\n")
        if line:
            cut, data = cut + len(data) - len(rest), rest
    return {"text": data.decode("utf-8", errors="replace"), "cut": cut}
