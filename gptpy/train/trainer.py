"""The training loop: take a batch, update, and from time to time report, evaluate, sample, save."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from gptpy.config.errors import ConfigError
from gptpy.config.training import TrainConfig
from gptpy.data.dataset import Batch, Samples
from gptpy.devices.processes import World
from gptpy.evaluation.loss import Evaluation, EvaluationStoppedError
from gptpy.runs import checkpoint
from gptpy.runs.metrics import MetricsLog, append_text
from gptpy.runs.progress import Reporter, Silent, counted, survive_full_disk
from gptpy.storage import atomic
from gptpy.tokenizer import Tokenizer
from gptpy.train import state as budgets
from gptpy.train.average import Average
from gptpy.train.interrupt import Interrupt
from gptpy.train.meter import Meter
from gptpy.train.saving import Checkpoints, describe_run, identity_of, restore_run
from gptpy.train.schedules import fit_schedule, rate_factor, warmup_note
from gptpy.train.state import TrainResult, TrainState
from gptpy.train.update import SkippedUpdates, Update, Updater


class Trainer:
    """`Trainer(model, data, config).fit()`.

    `evaluate(model) -> Evaluation` is called every `eval_every` steps, `sample(model) -> str` every
    `sample_every`. With `run_dir`, metrics and checkpoints are written there; `resume=True`
    continues from its last checkpoint exactly where it stopped. `tokenizer` goes into `run_dir`,
    so that `gptpy.load` opens it; without one the texts of the run are numbers. `interrupt`: what
    notices signals, for an `evaluate` that wants to stop at one (`EvaluationStoppedError`).
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
        tokenizer: Tokenizer | None = None,
        reporter: Reporter | None = None,
        world: World | None = None,
        resume: bool = False,
        interrupt: Interrupt | None = None,
    ) -> None:
        self.model, self.data, self.config = model, data, config
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.evaluate, self.sample, self.tokenizer = evaluate, sample, tokenizer
        self.world = world or World()
        main_reporter = reporter or Silent()
        self.reporter: Reporter = main_reporter if self.world.is_main else Silent()
        self.interrupt = interrupt or Interrupt()
        self.interrupt.warn = self._warn_of_loss
        self.device = next(model.parameters()).device
        self.state = TrainState(
            data=identity_of(data, self.run_dir if resume else None), decays_after_warmup=True
        )
        self.steps = budgets.total_steps(config, data)
        self.rank_batch, self.micro_batch = budgets.divide_batch(
            config, data.block_size, self.world.size
        )
        self.update = Updater(
            model, config, self.world, self.reporter, steps=self.steps, varying=data.varying
        )
        self.skipped = SkippedUpdates(config.max_bad_steps, self.reporter.on_message)
        self.average = Average(model, config.ema_decay) if config.ema_decay else None
        self.checkpoints = Checkpoints(
            self.run_dir, model, self.update, self.average, config, self.world, self.reporter
        )
        if self.run_dir is not None and self.world.is_main:
            atomic.clear_leftovers(self.run_dir)
        self.world.barrier()
        if resume:
            self._resume()
        if self.steps is not None:
            self._tell(warmup_note(config.schedule, self.steps))

    def _resume(self) -> None:
        if self.run_dir is None:
            raise ConfigError("resume needs a run directory")
        folder = checkpoint.find(self.run_dir)
        self.state = restore_run(folder, self.state.data, self.model, self.update, self.average)
        self.checkpoints.begin_at(self.state)
        self._tell(f"resumed {folder} at step {self.state.step}")
        progress = self._progress()
        self._tell(fit_schedule(self.config.schedule, self.state, progress, self._peak_rate()))
        if progress >= 1:
            self._tell(
                "its budget is used up: raise train.steps (tokens, epochs, seconds) to go on"
            )
        elif self._is_patience_used_up():
            self._tell(
                f"it stopped early at step {self.state.step}: {self.state.evals_without_gain} "
                f"evaluations without a lower loss than at step {self.state.best_step}; raise "
                "train.patience to go on"
            )

    def fit(self) -> TrainResult:
        """Train to the end of the budgets; Ctrl-C or SIGTERM ends the run after a checkpoint.

        The model then has the weights that `gptpy.load` takes: averaged where an average is kept,
        and the best ones after early stopping. Raises `TrainingError` after too many bad steps in a
        row, `CheckpointError` where the last checkpoint cannot be written.
        """
        state = self.state
        if self.run_dir is not None and self.world.is_main:
            describe_run(self.run_dir, self.model.config, self.config, self.tokenizer)
        log = self._open_log()
        meter = Meter(state, self.model, self.data.block_size, self.update.dtype, self.world)
        first_seconds, first_tokens = state.seconds, state.tokens
        begin = time.perf_counter() - state.seconds
        loss = math.nan
        self.model.train()
        with self.interrupt:
            if state.evaluation_due and self.evaluate:
                self._evaluate(log)
                self.checkpoints.try_to_save(state, again=True)
            progress = self._progress()
            stopped = self._why_to_stop(progress)
            while stopped is None:
                before = state.progress or 0.0
                update = self._step(progress)
                loss = update.loss if update.scored else loss
                state.seconds = time.perf_counter() - begin
                state.progress = self._progress()
                if self._due(self.config.log_every) or state.step == 1 or state.progress >= 1:
                    self._report(log, update, meter)
                if self.evaluate and budgets.evaluation_due(self.config, self.data, state, before):
                    self._evaluate(log)
                if self.sample and self._due(self.config.sample_every):
                    self._sample()
                if self.checkpoints.due(state):
                    self.checkpoints.try_to_save(state)
                # Evaluating, sampling and saving use up a time budget, but are not slow steps
                now = time.perf_counter() - begin
                meter.pause(now - state.seconds)
                state.seconds = now
                progress = self._progress()
                stopped = self._why_to_stop(progress)
            self.checkpoints.save(state)
        log.close()
        if self.steps is None and stopped == "done":
            self._tell(warmup_note(self.config.schedule, state.step))
        if state.unscored:
            were = "was" if state.unscored == 1 else "were"
            self._tell(
                f"{state.unscored:,} of {counted(state.step, 'step')} {were} skipped: no token of "
                "the batch was scored"
            )
        seconds = max(state.seconds - first_seconds, 1e-9)
        return TrainResult(
            state.step,
            state.tokens,
            state.seconds,
            (state.tokens - first_tokens) / seconds,
            loss,
            stopped,
            self._take_final_weights(stopped),
            state.best_step,
            state.best_loss,
        )

    def _progress(self) -> float:
        """How far the run is, 0..1, by the budget that is furthest; the same on every process."""
        seconds = self.state.seconds
        if self.config.seconds is not None:
            seconds = self.world.from_main(seconds, self.device)
        return budgets.progress(self.config, self.data, self.state, seconds)

    def _why_to_stop(self, progress: float) -> str | None:
        """What ends the run now, of the values of `TrainResult.stopped`; None: it goes on."""
        if self._is_patience_used_up():
            return "early"
        if self.world.any(self.interrupt.requested, self.device):
            return "interrupted"
        return "done" if progress >= 1 else None

    def _step(self, progress: float) -> Update:
        """Update from the next global batch, and count it; `TrainingError` after too many skips."""
        config, state = self.config, self.state
        batches = self._batches()
        factor = rate_factor(config.schedule, state, progress)
        update = self.update(batches, state.step, factor)
        state.step += 1
        state.samples += config.batch_size
        state.tokens += self._count_tokens(batches)
        state.lr_factor = factor
        self.skipped.count(update, state)
        if update.applied and self.average is not None:
            self.average.update(state.step)
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

    def _report(self, log: MetricsLog, update: Update, meter: Meter) -> None:
        state, progress = self.state, min(1.0, self.state.progress or 0.0)
        row: dict[str, Any] = {
            "step": state.step,
            "loss": update.loss,
            "lr": self._peak_rate() * update.lr_factor,
            "lr_factor": update.lr_factor,
            "grad_norm": update.grad_norm,
            "progress": progress,
            "tokens": state.tokens,
            "seconds": state.seconds,
            **meter.read(),
        }
        if state.unscored:
            row["unscored"] = state.unscored
        log.write("step", row)
        eta = state.seconds * (1 - progress) / progress if progress > 0 else math.nan
        self.reporter.on_step({**row, "eta": max(0.0, eta)})

    def _evaluate(self, log: MetricsLog) -> None:
        """Score the validation data and remember the best score; its checkpoint is kept.

        A signal may stop it: then a resumed run begins with this evaluation.
        """
        assert self.evaluate is not None
        state = self.state
        state.evaluation_due = True
        try:
            with self.averaged():
                result = self.evaluate(self.model)
        except EvaluationStoppedError:
            return
        finally:
            self.model.train()
        state.evaluation_due = False
        epoch = round(state.samples / self.data.n_windows, 3)
        row = {"step": state.step, "epoch": epoch, **result.metrics()}
        log.write("eval", row)
        self.reporter.on_eval(row)
        # Rank 0 decides and broadcasts, so that rounding differences cannot make ranks disagree on
        # whether to save or stop, and deadlock
        loss = self.world.from_main(result.loss, self.device)
        if loss < (math.inf if state.best_loss is None else state.best_loss):
            before, state.best_step = state.best_step, state.step
            state.best_loss, state.evals_without_gain = loss, 0
            if self.config.keep_best and not self.checkpoints.try_to_save(state):
                state.best_step = before  # the best that can be opened
        else:
            state.evals_without_gain += 1

    def _sample(self) -> None:
        assert self.sample is not None
        with self.averaged():
            text = self.sample(self.model)
        self.model.train()
        if self.run_dir is None or not self.world.is_main:
            return
        path, shown = self.run_dir / "samples.txt", f"--- step {self.state.step}\n{text}\n"
        survive_full_disk(lambda: append_text(path, shown), self.reporter)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the block the model has the averaged weights, where an average is kept."""
        return self.average.applied() if self.average else nullcontext()

    def _take_final_weights(self, stopped: str) -> int:
        """Give the model the weights that `gptpy.load` takes; returns their step."""
        if stopped == "early" and self.run_dir is not None:
            # What the main process has written, when it has written it
            best = int(self.world.from_main(self.state.best_step or 0, self.device))
            if best in checkpoint.steps(self.run_dir):
                checkpoint.restore(checkpoint.find(self.run_dir, best), self.model, averaged=True)
                return best
        if self.average is not None:
            self.average.take()
        return self.state.step

    def _open_log(self) -> MetricsLog:
        return MetricsLog(
            self.run_dir if self.world.is_main else None,
            resumed_at=self.state.step or None,
            tensorboard=self.config.tensorboard,
            wandb=self.config.wandb,
            tell=self.reporter.on_message,
        )

    def _due(self, every: int | None) -> bool:
        return every is not None and self.state.step % every == 0

    def _is_patience_used_up(self) -> bool:
        patience = self.config.patience
        return patience is not None and self.state.evals_without_gain >= patience

    def _peak_rate(self) -> float:
        return self.update.optimizers[0].param_groups[0]["peak_lr"]

    def _tell(self, text: str | None) -> None:
        if text is not None:
            self.reporter.on_message(text)

    def _warn_of_loss(self) -> None:
        saved = self.checkpoints.saved_step
        text = f"finishing step {self.state.step + 1} to save it; Ctrl-C once more ends at once: "
        with suppress(RuntimeError):  # a signal that came while a line was printed
            self.reporter.on_message(text + f"what was learned after step {saved} is then lost")
