"""The training loop: batches in, updates, looking, keeping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gptpy.config.errors import ConfigError
from gptpy.config.training import TrainConfig
from gptpy.data.dataset import Batch, Samples
from gptpy.data.ids import DataError
from gptpy.devices.peak import peak_flops
from gptpy.devices.processes import World
from gptpy.devices.sharding import is_sharded
from gptpy.evaluation.loss import Evaluation
from gptpy.model import flops_per_token
from gptpy.runs import checkpoint
from gptpy.runs.metrics import MetricsLog
from gptpy.train.average import Average
from gptpy.train.interrupt import Interrupt
from gptpy.train.progress import Reporter, Silent
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
        self.config = config
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.evaluate = evaluate
        self.sample = sample
        self.reporter: Reporter = reporter or Silent()
        self.world = world or World()
        self.device = next(model.parameters()).device
        self.total_steps = self._total_steps()
        self._plan_batch()
        self.update = Updater(
            model, config, self.world, self._say, steps=self.total_steps, varying=data.varying
        )
        self.average = Average(model, config.ema_decay) if config.ema_decay else None
        identity = {"ids": len(data), "block_size": data.block_size, "seed": data.seed}
        self.state = TrainState(data=identity)
        if self.run_dir is not None and self.world.is_main:
            checkpoint.clear_leftovers(self.run_dir)
        self.world.barrier()
        if resume:
            self._resume()

    def _total_steps(self) -> int | None:
        c = self.config
        if not c.has_end:
            raise ConfigError("nothing ends this run: set train.steps, tokens, epochs or seconds")
        ends = [] if c.steps is None else [c.steps]
        if c.tokens is not None:
            ends.append(math.ceil(c.tokens / (c.batch_size * self.data.block_size)))
        if c.epochs is not None:
            ends.append(math.ceil(c.epochs * self.data.n_windows / c.batch_size))
        return max(1, min(ends)) if ends else None

    def _plan_batch(self) -> None:
        c, size = self.config, self.world.size
        if c.batch_size % size:
            raise ConfigError(f"train.batch_size {c.batch_size} must divide over {size} processes")
        self.rank_batch = c.batch_size // size
        self.micro_batch = min(c.micro_batch_size or self.rank_batch, self.rank_batch)
        if self.rank_batch % self.micro_batch:
            raise ConfigError(
                f"each process takes {self.rank_batch} sequences a step, which "
                f"train.micro_batch_size {self.micro_batch} does not divide"
            )

    def _resume(self) -> None:
        if self.run_dir is None:
            raise ConfigError("resume needs a run directory")
        folder = checkpoint.find(self.run_dir)
        state = TrainState.from_saved(checkpoint.read_state(folder))
        if state.data != self.state.data:
            raise DataError(
                f"{folder} was trained on other data: it had {state.data}, this run has "
                f"{self.state.data}; resume with the same data, block_size and seed"
            )
        self.state = state
        checkpoint.restore(folder, self.model, self.update.optimizers)
        if self.average is not None:
            if checkpoint.holds(folder, "ema"):
                checkpoint.load_tensors(folder, "ema", self.average.tensors)
            else:  # it was off until now: it begins with the weights that were read
                self.average = Average(self.model, self.average.decay)
        if self.update.scaler is not None and state.scaler:
            self.update.scaler.load_state_dict(state.scaler)
        self._say(f"resumed {folder} at step {state.step}")
        if self._progress() >= 1:
            self._say("its budget is used up: raise train.steps (tokens, epochs, seconds) to go on")

    def fit(self) -> TrainResult:
        """Train to the end of the budgets; Ctrl-C or SIGTERM ends the run after a checkpoint."""
        state = self.state
        log = self._open_log() if self.world.is_main else None
        meter = Meter(self)
        saved_step, saved_seconds = state.step, state.seconds
        before_seconds, before_tokens = state.seconds, state.tokens
        begin = time.perf_counter() - state.seconds
        update, stopped = None, "done"
        self.model.train()
        with Interrupt() as interrupt:
            while self._progress() < 1:
                update = self._step(self._progress())
                state.seconds = time.perf_counter() - begin
                if self._due(self.config.log_every) or state.step == 1 or self._progress() >= 1:
                    self._report(log, update, meter)
                if self.evaluate and self._due_evaluation():
                    self._evaluate(log)
                if self.sample and self._due(self.config.sample_every):
                    self._sample()
                passed = state.seconds - saved_seconds
                by_time = self.config.save_seconds and passed >= self.config.save_seconds
                if self._due(self.config.save_every) or self.world.any(bool(by_time), self.device):
                    # A failed one is tried again in its turn, and at the end once more
                    saved_step = state.step if self._save(final=False) else saved_step
                    saved_seconds = state.seconds
                if self.config.patience and state.evals_without_gain >= self.config.patience:
                    stopped = "early"
                    break
                if self.world.any(interrupt.asked, self.device):
                    stopped = "interrupted"
                    break
                # evaluating, sampling and saving count against a time budget, not as slow steps
                now = time.perf_counter() - begin
                meter.pause(now - state.seconds)
                state.seconds = now
            if self.run_dir is not None and saved_step != state.step:
                self._save(final=True)
        if log:
            log.close()
        passed = max(state.seconds - before_seconds, 1e-9)
        rate = (state.tokens - before_tokens) / passed
        loss = update.loss if update else math.nan
        return TrainResult(state.step, state.tokens, state.seconds, rate, loss, stopped)

    def _due(self, every: int | None) -> bool:
        return every is not None and self.state.step % every == 0

    def _due_evaluation(self) -> bool:
        """By steps, or when the last step completed another `eval_epochs` passes over the data."""
        if self.config.eval_epochs is None:
            return self._due(self.config.eval_every)
        every = self.config.eval_epochs * self.data.n_windows
        samples = self.state.samples
        return int(samples / every) > int((samples - self.config.batch_size) / every)

    def _count(self, batches: list[Batch]) -> int:
        """Ids that all processes take in at this step, padding left out."""
        if batches[0].real is None:
            return self.config.batch_size * batches[0].inputs.shape[1]
        return int(self.world.sum(sum(batch.real or 0 for batch in batches), self.device))

    def _progress(self) -> float:
        """How far the run is along, by whichever budget is furthest; the same on every process."""
        by_steps = self.state.step / self.total_steps if self.total_steps else 0.0
        if self.config.seconds is None:
            return by_steps
        seconds = self.world.from_main(self.state.seconds, self.device)
        return max(by_steps, seconds / self.config.seconds)

    def _step(self, progress: float) -> Update:
        """Take the next global batch and update from it; skip what would spread nan or inf."""
        c, state = self.config, self.state
        batches = self._batches()
        update = self.update(batches, state.step, progress)
        state.step += 1
        state.samples += c.batch_size
        state.tokens += self._count(batches)
        if update.applied:
            state.bad_steps = 0
            if self.average is not None:
                self.average.update(state.step)
            return update
        state.bad_steps += 1
        what = f"loss {update.loss:g}, gradient norm {update.grad_norm:g}"
        self._say(f"step {state.step}: {what}; the update was skipped")
        if state.bad_steps >= c.max_bad_steps:
            raise TrainingError(
                f"{state.bad_steps} steps in a row up to step {state.step} had {what}: lower the "
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

    def _report(self, log: MetricsLog | None, update: Update, meter: Meter) -> None:
        state, done = self.state, self._progress()
        if log is None:
            return
        row: dict[str, Any] = {
            "step": state.step,
            "loss": update.loss,
            "lr": self.update.optimizers[0].param_groups[0]["lr"],
            "lr_factor": update.lr_factor,
            "grad_norm": update.grad_norm,
            "progress": min(1.0, done),
            "tokens": state.tokens,
            "seconds": state.seconds,
            **meter.read(),
        }
        log.write("step", row)
        eta = state.seconds * (1 - done) / done if done > 0 else math.nan
        self.reporter.on_step({**row, "eta": max(0.0, eta)})

    def _evaluate(self, log: MetricsLog | None) -> None:
        assert self.evaluate is not None
        state = self.state
        with self.average.applied() if self.average else nullcontext():
            result = self.evaluate(self.model)
        self.model.train()
        if log:
            epoch = state.samples / self.data.n_windows
            row = {"step": state.step, "epoch": round(epoch, 3), **result.metrics()}
            log.write("eval", row)
            self.reporter.on_eval(row)
        # The main process decides for all: saving together or stopping must not hang on a last bit.
        loss = self.world.from_main(result.loss, self.device)
        best = math.inf if state.best_loss is None else state.best_loss
        if loss < best:
            state.best_loss, state.best_step, state.evals_without_gain = loss, state.step, 0
            if self.config.keep_best:
                self._save(final=False)
        else:
            state.evals_without_gain += 1

    def final_evaluation(self) -> Evaluation | None:
        """The validation score of the weights as they are (averaged, where an average is kept)."""
        if self.evaluate is None:
            return None
        with self.average.applied() if self.average else nullcontext():
            return self.evaluate(self.model)

    def _sample(self) -> None:
        assert self.sample is not None
        text = self.sample(self.model)
        self.model.train()
        if self.run_dir is not None and self.world.is_main:
            with (self.run_dir / "samples.txt").open("a", encoding="utf-8") as file:
                file.write(f"--- step {self.state.step}\n{text}\n")

    def _save(self, *, final: bool) -> bool:
        """Write a checkpoint; whether it was. A failure ends the run only at its end: a disk may
        get room again.
        """
        if self.run_dir is None:
            return True
        spread = is_sharded(self.model)
        if not (spread or self.world.is_main):
            return True
        tensors = {
            "model": self.model.state_dict(),
            "optimizer": checkpoint.optimizer_tensors(self.update.optimizers),
        }
        if self.average is not None:
            tensors["ema"] = self.average.tensors
        state = dict(vars(self.state))
        state["scaler"] = self.update.scaler.state_dict() if self.update.scaler else None
        arguments: Any = {"tensors": tensors, "state": state}
        try:
            if spread:
                checkpoint.save_shards(self.run_dir, self.state.step, **arguments, world=self.world)
            else:
                checkpoint.save(self.run_dir, self.state.step, **arguments)
        except checkpoint.CheckpointError as error:
            if final:
                raise
            self._say(str(error))
            return False
        if not self.world.is_main:
            return True
        best = self.state.best_step
        keep = [best] if best is not None and self.config.keep_best else []
        checkpoint.prune(self.run_dir, self.config.keep_last, keep)
        return True

    def _open_log(self) -> MetricsLog:
        return MetricsLog(
            self.run_dir,
            resumed_at=self.state.step or None,
            tensorboard=self.config.tensorboard,
            wandb=self.config.wandb,
        )

    def _say(self, text: str) -> None:
        if self.world.is_main:
            self.reporter.on_message(text)


class Meter:
    """Tokens per second and share of the device's peak (MFU) since the last reading."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.flops = flops_per_token(trainer.model, trainer.data.block_size)
        peak = peak_flops(trainer.device, trainer.update.dtype)
        self.peak = None if peak is None else peak * trainer.world.size
        self.seconds, self.tokens = trainer.state.seconds, trainer.state.tokens

    def pause(self, seconds: float) -> None:
        """Leave out time in which nothing was trained."""
        self.seconds += seconds

    def read(self) -> dict[str, float]:
        """`tokens_per_second` and, where the peak is known, `mfu`."""
        state = self.trainer.state
        rate = (state.tokens - self.tokens) / max(state.seconds - self.seconds, 1e-9)
        self.seconds, self.tokens = state.seconds, state.tokens
        known = {} if self.peak is None else {"mfu": rate * self.flops / self.peak}
        return {"tokens_per_second": rate, **known}


def make_deterministic() -> None:
    """Ask torch for the same bits from the same input on a GPU too; some operations get slower."""
    torch.use_deterministic_algorithms(True, warn_only=True)
