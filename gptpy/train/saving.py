"""Checkpoints of a run in training: when they are written, with what, and which of them stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptpy.config.training import TrainConfig
from gptpy.devices.processes import World
from gptpy.devices.sharding import is_sharded
from gptpy.runs import checkpoint
from gptpy.runs.progress import Reporter
from gptpy.runs.restoring import optimizer_tensors
from gptpy.train.average import Average
from gptpy.train.state import TrainState
from gptpy.train.update import Updater


class Checkpoints:
    """The checkpoints of a run in `run_dir`; None: there are none.

    One is due every `save_every` steps, `save_seconds` after the last, and at each evaluation that
    is the best so far. The last `keep_last` and the best stay. All processes call every method.
    """

    def __init__(
        self,
        run_dir: Path | None,
        model: Any,
        update: Updater,
        average: Average | None,
        config: TrainConfig,
        world: World,
        reporter: Reporter,
    ) -> None:
        self.run_dir = run_dir
        self.model = model
        self.update = update
        self.average = average
        self.config = config
        self.world = world
        self.reporter = reporter
        self.saved_step, self._tried_at = 0, 0.0

    def begin_at(self, state: TrainState) -> None:
        """Nothing new is to be saved yet."""
        self.saved_step, self._tried_at = state.step, state.seconds

    def due(self, state: TrainState) -> bool:
        """Whether a checkpoint is to be written at this step; the same on every process."""
        every, limit = self.config.save_every, self.config.save_seconds
        if every is not None and state.step % every == 0:
            return True
        if limit is None or self.run_dir is None:
            return False
        return self.world.any(state.seconds - self._tried_at >= limit, self.update.device)

    def save(self, state: TrainState) -> None:
        """Write the checkpoint of this step, unless it is there; remove those that may go.

        A model that is whole on every process is written by the main one, a sharded one by all,
        each its own part. Raises `CheckpointError`.
        """
        self._tried_at = state.seconds
        if self.run_dir is None or self.saved_step == state.step:
            return
        sharded = is_sharded(self.model)
        if sharded or self.world.is_main:
            self._write(self.run_dir, state, sharded)
        self.saved_step = state.step

    def try_to_save(self, state: TrainState) -> bool:
        """`save`; returns whether that worked. A full disk may have room again later, so a failure
        is only reported, and tried again when the next one is due, and at the end."""
        try:
            self.save(state)
        except checkpoint.CheckpointError as error:
            self.reporter.on_message(str(error))
            return False
        return True

    def _write(self, run_dir: Path, state: TrainState, sharded: bool) -> None:
        tensors = {
            "model": self.model.state_dict(),
            "optimizer": optimizer_tensors(self.update.optimizers),
        }
        if self.average is not None:
            tensors["ema"] = self.average.tensors
        scaler = self.update.scaler
        saved = {**vars(state), "scaler": scaler.state_dict() if scaler else None}
        if sharded:
            checkpoint.save_shards(
                run_dir, state.step, tensors=tensors, state=saved, world=self.world
            )
        else:
            checkpoint.save(run_dir, state.step, tensors=tensors, state=saved)
        if self.world.is_main:
            best = [state.best_step] if self.config.keep_best and state.best_step else []
            checkpoint.prune(run_dir, self.config.keep_last, best)
