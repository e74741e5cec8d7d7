"""Checkpoints of a run in training: written with all that a resume needs, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptpy.config.training import TrainConfig
from gptpy.data.errors import DataError
from gptpy.devices.processes import World
from gptpy.devices.sharding import is_sharded
from gptpy.runs import checkpoint
from gptpy.train.average import Average
from gptpy.train.state import TrainState
from gptpy.train.update import Updater


def save(
    run_dir: Path,
    state: TrainState,
    model: Any,
    update: Updater,
    average: Average | None,
    config: TrainConfig,
    world: World,
) -> None:
    """Write the checkpoint of this step and remove those that need not be kept.

    All processes call it. A model that is whole on every process is written by the main one, a
    sharded one by all, each its own part. Raises `CheckpointError`.
    """
    sharded = is_sharded(model)
    if not (sharded or world.is_main):
        return
    tensors = {
        "model": model.state_dict(),
        "optimizer": checkpoint.optimizer_tensors(update.optimizers),
    }
    if average is not None:
        tensors["ema"] = average.tensors
    saved = {**vars(state), "scaler": update.scaler.state_dict() if update.scaler else None}
    if sharded:
        checkpoint.save_shards(run_dir, state.step, tensors=tensors, state=saved, world=world)
    else:
        checkpoint.save(run_dir, state.step, tensors=tensors, state=saved)
    if world.is_main:
        best = [state.best_step] if config.keep_best and state.best_step is not None else []
        checkpoint.prune(run_dir, config.keep_last, best)


def restore(
    folder: Path, data: dict[str, Any], model: Any, update: Updater, average: Average | None
) -> TrainState:
    """Load a checkpoint into all parts of a run, in place; returns the state it was saved with.

    Raises `DataError` unless the run that wrote it was trained on the same `data`, and
    `CheckpointError` for another model or optimiser.
    """
    state = TrainState.from_saved(checkpoint.read_state(folder))
    # An older version identified the data by less
    if any(value != data.get(key) for key, value in state.data.items()):
        raise DataError(
            f"{folder} was trained on other data: it had {state.data}, this run has "
            f"{data}; resume with the same data, block_size and seed"
        )
    checkpoint.restore(folder, model, update.optimizers)
    if average is not None:
        if checkpoint.holds(folder, "ema"):
            checkpoint.load_tensors(folder, "ema", average.tensors)
        else:  # the average is new in this run: it begins with the weights just read
            average.restart()
    if update.scaler is not None and state.scaler:
        update.scaler.load_state_dict(state.scaler)
    return state
