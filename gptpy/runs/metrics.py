"""`metrics.jsonl`: one JSON object a line, appended during the run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gptpy.runs.trackers import Tracker, open_trackers
from gptpy.storage.atomic import write_text


class MetricsLog:
    """Appends to `metrics.jsonl`, and to TensorBoard and wandb if configured.

    Without a folder it writes nothing. On resume, lines of steps after `resumed_at` are dropped,
    because the run will write them again. A line that cannot be written (a full disk) and a tracker
    that fails are told to `tell`, and the run goes on.
    """

    def __init__(
        self,
        run_dir: Path | None,
        *,
        resumed_at: int | None = None,
        tensorboard: bool = False,
        wandb: str | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._path = None
        self._trackers: list[Tracker] = []
        self._tell = tell
        self._cut = False
        if run_dir is None:
            return
        run_dir.mkdir(parents=True, exist_ok=True)
        self._trackers = open_trackers(run_dir, tensorboard, wandb, resumed_at)
        self._path = run_dir / "metrics.jsonl"
        kept = []
        if resumed_at is not None and self._path.exists():
            kept = [row for row in read_metrics(self._path) if row.get("step", 0) <= resumed_at]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def write(self, kind: str, row: Mapping[str, Any]) -> None:
        """Append `row`, marked `kind` ("step", "eval" or "message")."""
        if self._path is None:
            return
        try:
            # What is left of a line that was cut off stays on a line of its own
            append_text(self._path, "\n" * self._cut + _line(kind, row))
            self._cut = False
        except OSError as error:
            if not self._cut:
                self._tell(f"{self._path}: a line could not be written: {error.strerror}")
            self._cut = True
        numbers = {
            key: value
            for key, value in row.items()
            if isinstance(value, (int, float)) and key != "step" and math.isfinite(value)
        }
        if "step" in row:
            self._each(lambda tracker: tracker.log(kind, numbers, row["step"]))

    def close(self) -> None:
        """Flush and close every sink."""
        self._each(lambda tracker: tracker.close())

    def _each(self, action: Callable[[Tracker], None]) -> None:
        """`action` on every tracker; one that fails is left out from here on."""
        for tracker in list(self._trackers):
            try:
                action(tracker)
            except Exception as error:  # the network, a full disk: theirs raise many classes
                self._trackers.remove(tracker)
                self._tell(f"{tracker.name} failed and is left out from here on: {error}")


def append_metrics(run_dir: Path, kind: str, row: Mapping[str, Any]) -> None:
    """Add one row to `metrics.jsonl` of a run that has ended."""
    append_text(run_dir / "metrics.jsonl", _line(kind, row))


def append_text(path: Path, text: str) -> None:
    """Add `text` to a file at once; an `OSError` names the file."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        error.filename = str(path)
        raise


def _line(kind: str, row: Mapping[str, Any]) -> str:
    plain = {"kind": kind, **{key: _jsonable(value) for key, value in row.items()}}
    return json.dumps(plain) + "\n"


def read_metrics(path: str | Path) -> Iterator[dict[str, Any]]:
    """The rows of a metrics file; a line that a crash has truncated is left out."""
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict):
                yield row


def bits_per_nat(evals: Sequence[Mapping[str, Any]]) -> float | None:
    """Bits per byte for each nat per token, which the validation text decides; None if unknown."""
    for row in reversed(evals):
        loss, bits = row.get("val_loss"), row.get("bits_per_byte")
        if isinstance(bits, (int, float)) and isinstance(loss, (int, float)) and loss > 0:
            return bits / loss
    return None


def _jsonable(value: Any) -> Any:
    """A value for JSON, which has no nan and infinity: they become strings that `float` reads.

    Numbers keep six digits after the point, small ones six digits in all.
    """
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return str(value)
    return round(value, 6) if abs(value) >= 0.1 else float(f"{value:.6g}")
