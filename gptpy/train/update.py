"""One update of the weights from one global batch: forward, backward, clip, optimiser step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gptpy.config.errors import GptpyError
from gptpy.config.training import OptimConfig, TrainConfig
from gptpy.data.dataset import Batch, draw
from gptpy.devices.processes import (
    World,
    distribute,
    full_value,
    gradient_sync,
    is_sharded,
    undo_compilation,
)
from gptpy.devices.selection import autocast, choose_compile, choose_dtype
from gptpy.runs.progress import Reporter, counted
from gptpy.train.optimisers import Muon, build_optimizers
from gptpy.train.state import TrainState

MAX_UNSCORED = 100
"""Steps in a row without a scored token that end a run: the data score nothing."""


class TrainingError(GptpyError, RuntimeError):
    """Training cannot go on: the message says at which step and what to try."""

    exit_code = 1


@dataclass(frozen=True)
class Update:
    """What a step did: mean loss over scored tokens, gradient norm, factor on the peak rate.

    `applied` is False where the weights stayed: the loss or the gradient was not finite, or, where
    `scored` is False, no token of the batch was scored.
    """

    loss: float
    grad_norm: float
    lr_factor: float
    applied: bool
    scored: bool = True


class SkippedUpdates:
    """Tells of updates that were skipped, and ends a run in which they are too many in a row.

    A step is skipped where the loss or a gradient is not finite, or where no token is scored.
    """

    def __init__(self, max_bad_steps: int, tell: Callable[[str], None]) -> None:
        self.max_bad_steps, self.tell = max_bad_steps, tell
        self.unscored_in_a_row = 0

    def count(self, update: Update, state: TrainState) -> None:
        """Take note of the update of step `state.step`; `TrainingError` after too many."""
        if not update.scored:
            self._count_unscored(state)
            return
        self.unscored_in_a_row = 0
        if update.applied:
            state.bad_steps = 0
            return
        state.bad_steps += 1
        found = f"loss {update.loss:g}, gradient norm {update.grad_norm:g}"
        self.tell(f"step {state.step}: {found}; the update was skipped")
        if state.bad_steps >= self.max_bad_steps:
            raise TrainingError(
                f"{counted(state.bad_steps, 'step')} in a row up to step {state.step} had {found}: "
                "lower the learning rate (train.optim.lr, muon_lr), warm up longer, or use dtype "
                "float32"
            )

    def _count_unscored(self, state: TrainState) -> None:
        state.unscored += 1
        self.unscored_in_a_row += 1
        if state.unscored == 1:
            self.tell(f"step {state.step}: no token of the batch is scored; such steps are skipped")
        if self.unscored_in_a_row >= MAX_UNSCORED:
            raise TrainingError(
                f"{self.unscored_in_a_row} steps in a row up to step {state.step} had no token "
                "that is scored: use a larger train.batch_size or longer texts"
            )


class Updater:
    """Updates `model` in the number type, and through the compiler, that `config` asks for.

    `steps`: how many the run takes at most, where known; `varying`: whether batches differ in
    length. Both decide whether, and how, the model is compiled.
    """

    def __init__(
        self,
        model: Any,
        config: TrainConfig,
        world: World,
        reporter: Reporter,
        *,
        steps: int | None = None,
        varying: bool = False,
    ) -> None:
        self.model = model
        self.config = config
        self.world = world
        self.reporter = reporter
        self.device = next(model.parameters()).device
        self.dtype, reason = choose_dtype(self.device, config.dtype)
        reporter.on_message(f"{self.device.type}, {str(self.dtype)[6:]}: {reason}")
        compiled, reason = choose_compile(self.device, config.compile, steps)
        reporter.on_message(f"torch.compile {'on' if compiled else 'off'}: {reason}")
        # With batches of many lengths, compile for any length from the first step on. Compiled for
        # one length first, a resumed run, whose first batch has another, could differ in rounding.
        dynamic = varying or None
        self._plain = distribute(model, world, config.parallel, compiled=compiled, dynamic=dynamic)
        self.forward: Callable[..., Any] = self._plain
        if compiled and not is_sharded(model):
            self.forward = torch.compile(self._plain, dynamic=dynamic)
        self._compiled = compiled
        # A compiler may turn out to be broken at the first forward or backward, not later
        self._may_fall_back = compiled
        self.optimizers = build_optimizers(model, config.optim)
        self.autocast = autocast(self.device, self.dtype)
        scaled = self.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type) if scaled else None

    def __call__(self, batches: Sequence[Batch], step: int, factor: float) -> Update:
        """Update from this process's micro-batches of step `step` (from 0).

        `factor`: on the peak learning rates.
        """
        scored = self.world.sum(sum(batch.tokens for batch in batches), self.device)
        if scored == 0:
            return Update(math.nan, 0.0, factor, applied=False, scored=False)
        set_rates(self.optimizers, factor)
        set_momentum(self.optimizers, self.config.optim, step)
        loss = self._gradients_or_fall_back(batches, scored, step)
        norm = self._clip()
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            self._step_optimizers()
        # With a gradient scaler, gradients that are not finite are normal: the scale was too large,
        # the update is skipped and the scale halved. At a scale of 1 they count as a bad step.
        harmless = False
        if self.scaler:
            harmless = math.isfinite(loss) and self.scaler.get_scale() > 1
            self.scaler.update()  # halves the scale after gradients that were not finite
        self._drop_gradients()
        return Update(loss, norm, factor, finite or harmless)

    def _gradients(self, batches: Sequence[Batch], scored: float, step: int) -> float:
        """Accumulate the gradient of the mean loss over all scored tokens; returns that mean.

        Dividing by the tokens of the whole global batch weighs each micro-batch by its tokens.
        """
        # Dropout is a function of (seed, step, rank), so that nothing need be saved for a resume
        torch.manual_seed(draw(self.config.seed, step, self.world.rank) >> 1)
        total = 0.0
        for number, batch in enumerate(batches, 1):
            with gradient_sync(self._plain, self.model, last=number == len(batches)):
                total += self._forward_backward(batch.to(self.device), scored)
        return self.world.sum(total, self.device)

    def _forward_backward(self, batch: Batch, scored: float) -> float:
        """This micro-batch's part of the mean loss, its gradient added to the others'."""
        masks = batch.masks()
        if self._compiled and "cu_seqlens" in masks:
            # Another number of documents is no reason to compile again
            torch._dynamo.maybe_mark_dynamic(masks["cu_seqlens"], 0)
        with self.autocast:
            _, loss = self.forward(batch.inputs, batch.targets, reduction="sum", **masks)
        loss = loss / scored
        # Processes exchange the mean of their gradients; the sum is needed
        scaled = loss * self.world.size
        (self.scaler.scale(scaled) if self.scaler else scaled).backward()
        return float(loss.detach())

    def _gradients_or_fall_back(self, batches: Sequence[Batch], scored: float, step: int) -> float:
        """`_gradients`; where the compiler fails at the first step, again without it."""
        try:
            loss = self._gradients(batches, scored, step)
        except Exception as error:
            if not (self._may_fall_back and _from_compiler(error)):
                raise
            undo_compilation(self.model)
            self.forward, self._compiled = self._plain, False
            reason = str(error).strip().splitlines()[0]
            self.reporter.on_message(
                f"torch.compile does not work here, going on without it: {reason}"
            )
            self._drop_gradients()
            loss = self._gradients(batches, scored, step)
        self._may_fall_back = False
        return loss

    def _clip(self) -> float:
        """Clip the gradient's norm to the configured limit; returns the norm before."""
        if self.scaler:
            for optimizer in self.optimizers:
                self.scaler.unscale_(optimizer)
        limit = self.config.optim.grad_clip or math.inf
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        return full_value(torch.nn.utils.clip_grad_norm_(parameters, limit))

    def _step_optimizers(self) -> None:
        for optimizer in self.optimizers:
            if self.scaler:
                self.scaler.step(optimizer)
            else:
                optimizer.step()

    def _drop_gradients(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)


def _from_compiler(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def set_rates(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Scale every group's peak learning rate by `factor`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def set_momentum(
    optimizers: list[torch.optim.Optimizer], config: OptimConfig, step: int, start: float = 0.85
) -> None:
    """Raise Muon's momentum from `start` to its full value over `muon_momentum_warmup` steps."""
    warm = config.muon_momentum_warmup
    part = min(1.0, step / warm) if warm else 1.0
    for optimizer in optimizers:
        if isinstance(optimizer, Muon):
            for group in optimizer.param_groups:
                group["momentum"] = start + part * (config.muon_momentum - start)
