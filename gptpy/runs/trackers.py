"""TensorBoard and Weights & Biases as further sinks of a run's metrics."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from gptpy.config.errors import ConfigError
from gptpy.storage.atomic import write_text

WANDB_ID = "wandb.id"


class Tracker(Protocol):
    """A program that shows a run's metrics."""

    name: str

    def log(self, kind: str, numbers: Mapping[str, float], step: int) -> None:
        """Take the numbers of one row."""

    def close(self) -> None:
        """Flush and end."""


def check_trackers(tensorboard: bool, wandb: str | None) -> None:
    """Raises `ConfigError` where a configured tracker is not installed."""
    for name, wanted in (("tensorboard", tensorboard), ("wandb", wandb)):
        if wanted and find_spec(name) is None:
            raise ConfigError(
                f"train.{name} needs the {name} package: pip install 'gptpy-lm[tracking]'"
            )


def open_trackers(
    run_dir: Path, tensorboard: bool, wandb: str | None, resumed_at: int | None
) -> list[Tracker]:
    """Those that are configured; `ConfigError` where one is not installed or does not start.

    A run that is resumed goes on in the run that it has there.
    """
    check_trackers(tensorboard, wandb)
    opened: list[Tracker] = []
    if tensorboard:
        opened.append(_TensorBoard(run_dir, resumed_at))
    if wandb:
        opened.append(_Wandb(wandb, run_dir, resumed_at))
    return opened


class _TensorBoard:
    name = "tensorboard"

    def __init__(self, run_dir: Path, resumed_at: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Events of steps that the run will write again are purged
        purge = None if resumed_at is None else resumed_at + 1
        self._writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=purge)

    def log(self, kind: str, numbers: Mapping[str, float], step: int) -> None:
        for key, value in numbers.items():
            self._writer.add_scalar(f"{kind}/{key}", value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    name = "wandb"

    def __init__(self, project: str, run_dir: Path, resumed_at: int | None) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        path = run_dir / WANDB_ID
        known = resumed_at is not None and path.is_file()
        number = path.read_text(encoding="utf-8").strip() if known else uuid.uuid4().hex[:8]
        try:
            self._run = wandb.init(
                project=project, name=run_dir.name, dir=str(run_dir), id=number, resume="allow"
            )
        except Exception as error:  # no key, no network, a run that was deleted there
            raise ConfigError(
                f"train.wandb {project!r} does not start: {error}; log in with `wandb login`, set "
                "WANDB_API_KEY, or WANDB_MODE=offline to keep the run here"
            ) from None
        write_text(path, number + "\n")

    def log(self, kind: str, numbers: Mapping[str, float], step: int) -> None:
        self._run.log({f"{kind}/{key}": value for key, value in numbers.items()}, step=step)

    def close(self) -> None:
        self._run.finish()
