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
from gptpy.evaluation.loss import Evaluation
from gptpy.runs import checkpoint
from gptpy.runs.metrics import MetricsLog, append_text
from gptpy.runs.progress import Reporter, Silent, survive_full_disk
from gptpy.runs.restoring import restore
from gptpy.storage import atomic
from gptpy.tokenizer import Tokenizer
from gptpy.train import budget
from gptpy.train.average import Average
from gptpy.train.interrupt import Interrupt
from gptpy.train.library import describe_run
from gptpy.train.meter import Meter
from gptpy.train.resuming import fit_schedule, rate_factor
from gptpy.train.resuming import restore as restore_run
from gptpy.train.saving import Checkpoints
from gptpy.train.schedules import warmup_note
from gptpy.train.state import TrainResult, TrainState
from gptpy.train.update import TrainingError, Update, Updater

# How often a run is evaluated that does not say
EVALUATIONS = 20
# Steps in a row without a scored token that end a run: the data score nothing
MAX_UNSCORED = 100


class Trainer:
    """`Trainer(model, data, config).fit()`.

    `evaluate(model) -> Evaluation` is called every `eval_every` steps, `sample(model) -> str` every
    `sample_every`. With `run_dir`, metrics and checkpoints are written there; `resume=True`
    continues from its last checkpoint exactly where it stopped. `tokenizer` goes into `run_dir`,
    so that `gptpy.load` opens it; without one the texts of the run are numbers.
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
        self.tokenizer = tokenizer
        self.world = world or World()
        main_reporter = reporter or Silent()
        self.reporter: Reporter = main_reporter if self.world.is_main else Silent()
        self.device = next(model.parameters()).device
        self.steps = budget.total_steps(config, data)
        self.rank_batch, self.micro_batch = budget.divide_batch(config, self.world.size)
        self.update = Updater(
            model, config, self.world, self.reporter, steps=self.steps, varying=data.varying
        )
        self.average = Average(model, config.ema_decay) if config.ema_decay else None
        self.checkpoints = Checkpoints(
            self.run_dir, model, self.update, self.average, config, self.world, self.reporter
        )
        identity = {"ids": data.n_ids, "block_size": data.block_size, "seed": data.seed}
        fingerprint = getattr(data, "fingerprint", None)
        if fingerprint is not None:
            identity["fingerprint"] = fingerprint
        self.state = TrainState(data=identity, decays_after_warmup=True)
        self.unscored_in_a_row = 0
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
        self.reporter.on_message(f"resumed {folder} at step {self.state.step}")
        progress = self._progress()
        self._tell(fit_schedule(self.config.schedule, self.state, progress, self._peak_rate()))
        if progress >= 1:
            self.reporter.on_message(
                "its budget is used up: raise train.steps (tokens, epochs, seconds) to go on"
            )
        elif self._is_patience_used_up():
            self.reporter.on_message(
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
        state, config = self.state, self.config
        if self.run_dir is not None and self.world.is_main:
            describe_run(self.run_dir, self.model.config, config, self.tokenizer)
        log = self._open_log()
        meter = Meter(state, self.model, self.data.block_size, self.update.dtype, self.world)
        first_seconds, first_tokens = state.seconds, state.tokens
        begin = time.perf_counter() - state.seconds
        loss, stopped = math.nan, "early" if self._is_patience_used_up() else "done"
        self.model.train()
        with Interrupt(self._warn_of_loss) as interrupt:
            while stopped == "done" and (progress := self._progress()) < 1:
                update = self._step(progress)
                loss = update.loss if update.scored else loss
                state.seconds = time.perf_counter() - begin
                before, state.progress = state.progress or 0.0, self._progress()
                if self._due(config.log_every) or state.step == 1 or state.progress >= 1:
                    self._report(log, update, meter)
                if self.evaluate and self._due_evaluation(before):
                    self._evaluate(log)
                if self.sample and self._due(config.sample_every):
                    self._sample()
                if self.checkpoints.due(state):
                    self.checkpoints.try_to_save(state)
                if self._is_patience_used_up():
                    stopped = "early"
                elif self.world.any(interrupt.requested, self.device):
                    stopped = "interrupted"
                # Evaluating, sampling and saving use up a time budget, but are not slow steps
                now = time.perf_counter() - begin
                meter.pause(now - state.seconds)
                state.seconds = now
            self.checkpoints.save(state)
        log.close()
        if self.steps is None and stopped == "done":
            self._tell(warmup_note(config.schedule, state.step))
        if state.unscored:
            self.reporter.on_message(
                f"{state.unscored:,} of {state.step:,} steps were skipped: no token of their batch "
                "was scored"
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
        return budget.progress(self.config, self.data, self.state, seconds)

    def _tell(self, text: str | None) -> None:
        if text is not None:
            self.reporter.on_message(text)

    def _peak_rate(self) -> float:
        return self.update.optimizers[0].param_groups[0]["peak_lr"]

    def _is_patience_used_up(self) -> bool:
        patience = self.config.patience
        return patience is not None and self.state.evals_without_gain >= patience

    def _warn_of_loss(self) -> None:
        saved = self.checkpoints.saved_step
        text = f"finishing step {self.state.step + 1} to save it; Ctrl-C once more ends at once: "
        with suppress(RuntimeError):  # a signal that came while a line was printed
            self.reporter.on_message(text + f"what was learned after step {saved} is then lost")

    def _step(self, progress: float) -> Update:
        """Update from the next global batch, and count it.

        An update with a loss or gradient that is not finite is skipped, and so is a batch in which
        no token is scored; `TrainingError` after too many of them in a row.
        """
        config, state = self.config, self.state
        batches = self._batches()
        factor = rate_factor(config.schedule, state, progress)
        update = self.update(batches, state.step, factor)
        state.step += 1
        state.samples += config.batch_size
        state.tokens += self._count_tokens(batches)
        state.lr_factor = factor
        if not update.scored:
            return self._skip_unscored(update)
        self.unscored_in_a_row = 0
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

    def _skip_unscored(self, update: Update) -> Update:
        self.state.unscored += 1
        self.unscored_in_a_row += 1
        if self.state.unscored == 1:
            self.reporter.on_message(
                f"step {self.state.step}: no token of the batch is scored; such steps are skipped"
            )
        if self.unscored_in_a_row >= MAX_UNSCORED:
            raise TrainingError(
                f"{self.unscored_in_a_row} steps in a row up to step {self.state.step} had no "
                "token that is scored: use a larger train.batch_size or longer texts"
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

    def _due_evaluation(self, before: float) -> bool:
        """Whether to evaluate now; `before`: the progress before this step."""
        if self.config.eval_every is not None:
            return self._due(self.config.eval_every)
        if self.config.eval_epochs is not None:
            every = self.config.eval_epochs * self.data.n_windows
            samples = self.state.samples
            return int(samples / every) > int((samples - self.config.batch_size) / every)
        now = self.state.progress or 0.0
        return int(now * EVALUATIONS + 1e-9) > int(before * EVALUATIONS + 1e-9)

    def _open_log(self) -> MetricsLog:
        return MetricsLog(
            self.run_dir if self.world.is_main else None,
            resumed_at=self.state.step or None,
            tensorboard=self.config.tensorboard,
            wandb=self.config.wandb,
            tell=self.reporter.on_message,
        )

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

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the block the model has the averaged weights, where an average is kept."""
        return self.average.applied() if self.average else nullcontext()

    def _take_final_weights(self, stopped: str) -> int:
        """Give the model the weights that `gptpy.load` takes; returns their step."""
        if stopped == "early" and self.run_dir is not None:
            # What the main process has written, when it has written it
            best = int(self.world.from_main(self.state.best_step or 0, self.device))
            if best in checkpoint.steps(self.run_dir):
                restore(checkpoint.find(self.run_dir, best), self.model, averaged=True)
                return best
        if self.average is not None:
            self.average.take()
        return self.state.step

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
