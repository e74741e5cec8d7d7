"""`metrics.jsonl`: one JSON object a line, appended during the run; TensorBoard and wandb."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.storage.atomic import write_text


class MetricsLog:
    """Appends to `metrics.jsonl`, and to TensorBoard and wandb if configured.

    Without a folder it writes nothing. On resume, lines of steps after `resumed_at` are dropped,
    because the run will write them again.
    """

    def __init__(
        self,
        run_dir: Path | None,
        *,
        resumed_at: int | None = None,
        tensorboard: bool = False,
        wandb: str | None = None,
    ) -> None:
        self._file = None
        self._board = self._wandb = None
        if run_dir is None:
            return
        check_trackers(tensorboard, wandb)
        run_dir.mkdir(parents=True, exist_ok=True)
        path = run_dir / "metrics.jsonl"
        kept = []
        if resumed_at is not None and path.exists():
            kept = [row for row in read_metrics(path) if row.get("step", 0) <= resumed_at]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a", encoding="utf-8")
        if tensorboard:
            self._board = _tensorboard(run_dir)
        if wandb:
            self._wandb = _wandb(wandb, run_dir, resumed_at is not None)

    def write(self, kind: str, row: Mapping[str, Any]) -> None:
        """Append `row`, marked `kind` ("step", "eval" or "message")."""
        if self._file is None:
            return
        self._file.write(_line(kind, row))
        self._file.flush()
        numbers = {
            key: value
            for key, value in row.items()
            if isinstance(value, (int, float)) and key != "step" and math.isfinite(value)
        }
        if self._board is not None and "step" in row:
            for key, value in numbers.items():
                self._board.add_scalar(f"{kind}/{key}", value, row["step"])
        if self._wandb is not None and "step" in row:
            named = {f"{kind}/{key}": value for key, value in numbers.items()}
            self._wandb.log(named, step=row["step"])

    def close(self) -> None:
        """Flush and close every sink."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def append_metrics(run_dir: Path, kind: str, row: Mapping[str, Any]) -> None:
    """Add one row to `metrics.jsonl` of a run that has ended."""
    with (run_dir / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(_line(kind, row))


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


def _jsonable(value: Any) -> Any:
    """A value for JSON, which has no nan and infinity: they become strings that `float` reads."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return round(value, 6) if isinstance(value, float) else value


def check_trackers(tensorboard: bool, wandb: str | None) -> None:
    """Raises `ConfigError` where a configured tracker is not installed."""
    for name, wanted in (("tensorboard", tensorboard), ("wandb", wandb)):
        if wanted and find_spec(name) is None:
            raise ConfigError(
                f"train.{name} needs the {name} package: pip install 'gptpy-lm[tracking]'"
            )


def _tensorboard(run_dir: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(run_dir / "tensorboard"))


def _wandb(project: str, run_dir: Path, resumed: bool) -> Any:
    import wandb  # pyright: ignore[reportMissingImports]

    return wandb.init(
        project=project,
        name=run_dir.name,
        dir=str(run_dir),
        resume="allow" if resumed else None,
    )
