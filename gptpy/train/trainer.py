"""The training loop: take a batch, update, and from time to time report, evaluate, sample, save."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from gptpy.config.errors import ConfigError
from gptpy.config.training import TrainConfig
from gptpy.data.dataset import Batch, Samples
from gptpy.devices.processes import World
from gptpy.evaluation.loss import Evaluation
from gptpy.runs import checkpoint
from gptpy.runs.metrics import MetricsLog
from gptpy.runs.progress import Reporter, Silent
from gptpy.train import saving
from gptpy.train.average import Average
from gptpy.train.budget import divide_batch, total_steps
from gptpy.train.interrupt import Interrupt
from gptpy.train.meter import Meter
from gptpy.train.state import TrainResult, TrainState
from gptpy.train.update import TrainingError, Update, Updater


class Trainer:
    """`Trainer(model, data, config).fit()`.

    `evaluate(model) -> Evaluation` is called every `eval_every` steps, `sample(model) -> str` every
    `sample_every`. With `run_dir`, metrics and checkpoints are written there; `resume=True`
    continues from its last checkpoint exactly where it stopped.
    """

    def __init__(
        self,
        model: Any,
        data: Samples,
        config: TrainConfig,
        *,
        run_dir: str | Path | None = None,
        evaluate: Callable[[Any], Evaluation] | None = None,
        sample: Callable[[Any], str] | None = None,
        reporter: Reporter | None = None,
        world: World | None = None,
        resume: bool = False,
    ) -> None:
        self.model = model
        self.data = data
        go_on_as = getattr(data, "go_on_as", None)
        if resume and run_dir is not None and go_on_as is not None:
            saved = checkpoint.read_state(checkpoint.find(run_dir)).get("data", {})
            go_on_as(saved.get("fingerprint"))
        self.config = config
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.evaluate = evaluate
        self.sample = sample
        self.world = world or World()
        main_reporter = reporter or Silent()
        self.reporter: Reporter = main_reporter if self.world.is_main else Silent()
        self.device = next(model.parameters()).device
        self.total_steps = total_steps(config, data)
        self.rank_batch, self.micro_batch = divide_batch(config, self.world.size)
        self.update = Updater(
            model, config, self.world, self.reporter, steps=self.total_steps, varying=data.varying
        )
        self.average = Average(model, config.ema_decay) if config.ema_decay else None
        identity = {"ids": len(data), "block_size": data.block_size, "seed": data.seed}
        fingerprint = getattr(data, "fingerprint", None)
        if fingerprint is not None:
            identity["fingerprint"] = fingerprint
        self.state = TrainState(data=identity)
        if self.run_dir is not None and self.world.is_main:
            checkpoint.clear_leftovers(self.run_dir)
        self.world.barrier()
        if resume:
            self._resume()

    def _resume(self) -> None:
        if self.run_dir is None:
            raise ConfigError("resume needs a run directory")
        folder = checkpoint.find(self.run_dir)
        self.state = saving.restore(folder, self.state.data, self.model, self.update, self.average)
        self.reporter.on_message(f"resumed {folder} at step {self.state.step}")
        if self._progress() >= 1:
            self.reporter.on_message(
                "its budget is used up: raise train.steps (tokens, epochs, seconds) to go on"
            )

    def fit(self) -> TrainResult:
        """Train to the end of the budgets; Ctrl-C or SIGTERM ends the run after a checkpoint.

        Raises `TrainingError` after too many bad steps in a row, `CheckpointError` where the last
        checkpoint cannot be written.
        """
        state, config = self.state, self.config
        log = self._open_log()
        meter = Meter(state, self.model, self.data.block_size, self.update.dtype, self.world)
        first_seconds, first_tokens = state.seconds, state.tokens
        saved_step, saved_seconds = state.step, state.seconds
        begin = time.perf_counter() - state.seconds
        update, stopped = None, "done"
        self.model.train()
        with Interrupt() as interrupt:
            while (progress := self._progress()) < 1:
                update = self._step(progress)
                state.seconds = time.perf_counter() - begin
                if self._due(config.log_every) or state.step == 1 or self._progress() >= 1:
                    self._report(log, update, meter)
                if self.evaluate and self._due_evaluation():
                    self._evaluate(log)
                if self.sample and self._due(config.sample_every):
                    self._sample()
                if self._due(config.save_every) or self._due_by_time(saved_seconds):
                    # A save that fails is tried again when the next one is due, and at the end
                    saved_step = state.step if self._try_to_save() else saved_step
                    saved_seconds = state.seconds
                if config.patience and state.evals_without_gain >= config.patience:
                    stopped = "early"
                    break
                if self.world.any(interrupt.requested, self.device):
                    stopped = "interrupted"
                    break
                # Evaluating, sampling and saving use up a time budget, but are not slow steps
                now = time.perf_counter() - begin
                meter.pause(now - state.seconds)
                state.seconds = now
            if saved_step != state.step:
                self._save()
        log.close()
        seconds = max(state.seconds - first_seconds, 1e-9)
        return TrainResult(
            state.step,
            state.tokens,
            state.seconds,
            (state.tokens - first_tokens) / seconds,
            update.loss if update else math.nan,
            stopped,
        )

    def _progress(self) -> float:
        """How far the run is, 0..1, by the budget that is furthest; the same on every process."""
        by_steps = self.state.step / self.total_steps if self.total_steps else 0.0
        if self.config.seconds is None:
            return by_steps
        seconds = self.world.from_main(self.state.seconds, self.device)
        return max(by_steps, seconds / self.config.seconds)

    def _step(self, progress: float) -> Update:
        """Update from the next global batch, and count it.

        An update with a loss or gradient that is not finite is skipped; `TrainingError` after
        `max_bad_steps` of them in a row.
        """
        config, state = self.config, self.state
        batches = self._batches()
        update = self.update(batches, state.step, progress)
        state.step += 1
        state.samples += config.batch_size
        state.tokens += self._count_tokens(batches)
        if update.applied:
            state.bad_steps = 0
            if self.average is not None:
                self.average.update(state.step)
            return update
        state.bad_steps += 1
        found = f"loss {update.loss:g}, gradient norm {update.grad_norm:g}"
        self.reporter.on_message(f"step {state.step}: {found}; the update was skipped")
        if state.bad_steps >= config.max_bad_steps:
            raise TrainingError(
                f"{state.bad_steps} steps in a row up to step {state.step} had {found}: lower the "
                "learning rate (train.optim.lr, muon_lr), warm up longer, or use dtype float32"
            )
        return update

    def _batches(self) -> list[Batch]:
        """This process's share of the next global batch, in micro-batches."""
        first = self.state.samples + self.world.rank * self.rank_batch
        return [
            self.data.batch(np.arange(start, start + self.micro_batch), length_key=self.state.step)
            for start in range(first, first + self.rank_batch, self.micro_batch)
        ]

    def _count_tokens(self, batches: list[Batch]) -> int:
        """Input tokens of all processes at this step, without padding."""
        if batches[0].real is None:
            return self.config.batch_size * batches[0].inputs.shape[1]
        return int(self.world.sum(sum(batch.real or 0 for batch in batches), self.device))

    def _due(self, every: int | None) -> bool:
        return every is not None and self.state.step % every == 0

    def _due_evaluation(self) -> bool:
        if self.config.eval_epochs is None:
            return self._due(self.config.eval_every)
        every = self.config.eval_epochs * self.data.n_windows
        samples = self.state.samples
        return int(samples / every) > int((samples - self.config.batch_size) / every)

    def _due_by_time(self, saved_seconds: float) -> bool:
        """Whether `save_seconds` have passed on any process: a checkpoint is for all or none."""
        limit = self.config.save_seconds
        if limit is None:
            return False
        return self.world.any(self.state.seconds - saved_seconds >= limit, self.device)

    def _open_log(self) -> MetricsLog:
        return MetricsLog(
            self.run_dir if self.world.is_main else None,
            resumed_at=self.state.step or None,
            tensorboard=self.config.tensorboard,
            wandb=self.config.wandb,
        )

    def _report(self, log: MetricsLog, update: Update, meter: Meter) -> None:
        state, progress = self.state, self._progress()
        row: dict[str, Any] = {
            "step": state.step,
            "loss": update.loss,
            "lr": self.update.optimizers[0].param_groups[0]["lr"],
            "lr_factor": update.lr_factor,
            "grad_norm": update.grad_norm,
            "progress": min(1.0, progress),
            "tokens": state.tokens,
            "seconds": state.seconds,
            **meter.read(),
        }
        log.write("step", row)
        eta = state.seconds * (1 - progress) / progress if progress > 0 else math.nan
        self.reporter.on_step({**row, "eta": max(0.0, eta)})

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the block the model has the averaged weights, where an average is kept."""
        return self.average.applied() if self.average else nullcontext()

    def _evaluate(self, log: MetricsLog) -> None:
        """Score the validation data and remember the best score; its checkpoint is kept."""
        assert self.evaluate is not None
        state = self.state
        with self.averaged():
            result = self.evaluate(self.model)
        self.model.train()
        epoch = round(state.samples / self.data.n_windows, 3)
        row = {"step": state.step, "epoch": epoch, **result.metrics()}
        log.write("eval", row)
        self.reporter.on_eval(row)
        # Rank 0 decides and broadcasts, so that rounding differences cannot make ranks disagree on
        # whether to save or stop, and deadlock
        loss = self.world.from_main(result.loss, self.device)
        if loss < (math.inf if state.best_loss is None else state.best_loss):
            state.best_loss, state.best_step, state.evals_without_gain = loss, state.step, 0
            if self.config.keep_best:
                self._try_to_save()
        else:
            state.evals_without_gain += 1

    def _sample(self) -> None:
        assert self.sample is not None
        text = self.sample(self.model)
        self.model.train()
        if self.run_dir is not None and self.world.is_main:
            with (self.run_dir / "samples.txt").open("a", encoding="utf-8") as file:
                file.write(f"--- step {self.state.step}\n{text}\n")

    def _save(self) -> None:
        """Write a checkpoint; `CheckpointError` where that fails."""
        if self.run_dir is not None:
            parts = (self.state, self.model, self.update, self.average)
            saving.save(self.run_dir, *parts, self.config, self.world)

    def _try_to_save(self) -> bool:
        """Write a checkpoint; returns whether that worked. A full disk may have room again later,
        so a failure is only reported."""
        try:
            self._save()
        except checkpoint.CheckpointError as error:
            self.reporter.on_message(str(error))
            return False
        return True
