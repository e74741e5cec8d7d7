"""What a run in training keeps in its directory: when, which checkpoints stay, how one goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.config.run import RunConfig
from gptpy.config.training import TrainConfig
from gptpy.data.dataset import Samples
from gptpy.data.errors import DataError
from gptpy.devices.processes import World, is_sharded
from gptpy.runs import checkpoint
from gptpy.runs.progress import Reporter
from gptpy.storage import atomic
from gptpy.tokenizer import FILE_NAME, NumberTokenizer, Tokenizer, save_tokenizer
from gptpy.train.average import Average
from gptpy.train.state import TrainState
from gptpy.train.update import Updater


def describe_run(
    run_dir: Path, model: GPTConfig, train: TrainConfig, tokenizer: Tokenizer | None
) -> None:
    """Write `config.toml` and the tokenizer into `run_dir`.

    A configuration of the same model stays: that of a command says more. Raises `ConfigError` for a
    tokenizer with more tokens than the model has.
    """
    if tokenizer is not None and tokenizer.n_vocab > model.vocab_size:
        raise ConfigError(
            f"tokenizer: expected at most {model.vocab_size} tokens (model.vocab_size), got "
            f"{tokenizer.n_vocab}"
        )
    run_dir.mkdir(parents=True, exist_ok=True)
    if tokenizer is not None or not (run_dir / FILE_NAME).is_file():
        save_tokenizer(tokenizer or NumberTokenizer(model.vocab_size), run_dir)
    there = (run_dir / "config.toml").is_file()
    if not (there and checkpoint.read_config(run_dir).model == model):
        atomic.write_text(run_dir / "config.toml", RunConfig(model=model, train=train).to_toml())


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
        """The run goes on from the checkpoint of `state`, which need not be written again."""
        self.saved_step, self._tried_at = state.step, state.seconds

    def due(self, state: TrainState) -> bool:
        """Whether a checkpoint is to be written at this step; the same on every process."""
        every, limit = self.config.save_every, self.config.save_seconds
        if every is not None and state.step % every == 0:
            return True
        if limit is None or self.run_dir is None:
            return False
        return self.world.any(state.seconds - self._tried_at >= limit, self.update.device)

    def save(self, state: TrainState, *, again: bool = False) -> None:
        """Write the checkpoint of this step, unless it is there (or `again`); remove what may go.

        A model that is whole on every process is written by the main one, a sharded one by all,
        each its own part. Raises `CheckpointError`.
        """
        self._tried_at = state.seconds
        if self.run_dir is None or (self.saved_step == state.step and not again):
            return
        sharded = is_sharded(self.model)
        if sharded or self.world.is_main:
            self._write(self.run_dir, state, sharded)
        self.saved_step = state.step

    def try_to_save(self, state: TrainState, *, again: bool = False) -> bool:
        """`save`; returns whether that worked. A full disk may have room again later, so a failure
        is only reported, and tried again when the next one is due, and at the end."""
        try:
            self.save(state, again=again)
        except checkpoint.CheckpointError as error:
            self.reporter.on_message(str(error))
            return False
        return True

    def _write(self, run_dir: Path, state: TrainState, sharded: bool) -> None:
        tensors = {
            "model": self.model.state_dict(),
            "optimizer": checkpoint.optimizer_tensors(self.update.optimizers),
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


def identity_of(data: Samples, resumed: Path | None) -> dict[str, Any]:
    """What a run knows its data by; those of a run that is `resumed` first go on as they did."""
    go_on_as = getattr(data, "go_on_as", None)
    if resumed is not None and go_on_as is not None:
        saved = checkpoint.read_state(checkpoint.find(resumed)).get("data", {})
        go_on_as(saved.get("fingerprint"))
    identity = {"ids": data.n_ids, "block_size": data.block_size, "seed": data.seed}
    fingerprint = getattr(data, "fingerprint", None)
    return identity if fingerprint is None else {**identity, "fingerprint": fingerprint}


def restore_run(
    folder: Path, data: dict[str, Any], model: Any, update: Updater, average: Average | None
) -> TrainState:
    """Load a checkpoint into all parts of a run, in place; returns the state it was saved with.

    Raises `DataError` unless the run that wrote it was trained on the same `data`, and
    `CheckpointError` for another model or optimiser.
    """
    state = TrainState.from_saved(checkpoint.read_state(folder))
    # An older version identified the data by less
    differ = [key for key, value in state.data.items() if key in data and data[key] != value]
    if differ:
        there, here = ({key: each[key] for key in differ} for each in (state.data, data))
        raise DataError(
            f"{folder} was trained on other data: it had {there}, this run has {here}; resume with "
            "the same data, block_size and seed"
        )
    state.data = data
    checkpoint.restore(folder, model, update.optimizers)
    if average is not None:
        if checkpoint.holds(folder, "ema"):
            checkpoint.load_tensors(folder, "ema", average.tensors)
        else:  # the average is new in this run: it begins with the weights just read
            average.restart()
    if update.scaler is not None and state.scaler:
        update.scaler.load_state_dict(state.scaler)
    return state
