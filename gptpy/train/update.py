"""One update of the weights from one global batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from gptpy.config.errors import GptpyError
from gptpy.config.training import TrainConfig
from gptpy.data.dataset import Batch
from gptpy.data.permutation import draw
from gptpy.devices.processes import World
from gptpy.devices.selection import choose_compile, choose_dtype
from gptpy.devices.sharding import (
    distribute,
    full_value,
    gradient_sync,
    is_sharded,
    undo_compilation,
)
from gptpy.train.optimisers import build_optimizers, set_momentum, set_rates
from gptpy.train.schedules import multiplier


class TrainingError(GptpyError, RuntimeError):
    """Training cannot go on: the message says at which step and what to try."""

    exit_code = 1


@dataclass(frozen=True)
class Update:
    """What a step did: mean loss over scored tokens, gradient norm, share of the peak rate."""

    loss: float
    grad_norm: float
    lr_factor: float
    applied: bool


class Updater:
    """Forward, backward, clip and step, in the number type and through the compiler chosen.

    `steps`: how many the run will take at most, where that is known; `varying`: whether batches
    are of many lengths.
    """

    def __init__(
        self,
        model: Any,
        config: TrainConfig,
        world: World,
        say: Callable[[str], None],
        *,
        steps: int | None = None,
        varying: bool = False,
    ) -> None:
        self.model = model
        self.config = config
        self.world = world
        self.say = say
        self.device = next(model.parameters()).device
        self.dtype, reason = choose_dtype(self.device, config.dtype)
        say(f"{self.device.type}, {str(self.dtype)[6:]}: {reason}")
        compiled, reason = choose_compile(self.device, config.compile, steps)
        say(f"torch.compile {'on' if compiled else 'off'}: {reason}")
        # Code for any length from the first step on: compiled for one length first, a resumed run
        # would meet another one first, and could differ in the last bit
        dynamic = varying or None
        self._plain = distribute(model, world, config.parallel, compiled=compiled, dynamic=dynamic)
        self.forward: Callable[..., Any] = self._plain
        if compiled and not is_sharded(model):
            self.forward = torch.compile(self._plain, dynamic=dynamic)
        self._compiled = compiled
        # Until a first backward has run, a broken compiler is survived by going on without it
        self._may_fall_back = compiled
        self.optimizers = build_optimizers(model, config.optim)
        scaled = self.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type) if scaled else None

    def __call__(self, batches: Sequence[Batch], step: int, progress: float) -> Update:
        """Update from this process's micro-batches of step `step` (from 0)."""
        scored = self.world.sum(sum(batch.tokens for batch in batches), self.device)
        if scored == 0:
            raise TrainingError(f"step {step + 1}: no token of the batch is scored")
        factor = multiplier(self.config.schedule, step, progress)
        set_rates(self.optimizers, factor)
        set_momentum(self.optimizers, self.config.optim, step)
        loss = self._gradients(batches, scored, step)
        norm = self._clip()
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            self._apply()
        elif self.scaler:
            self.scaler.update()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        # With a gradient scaler an infinite norm alone is no harm: the scale was too large
        harmless = self.scaler is not None and math.isfinite(loss)
        return Update(loss, norm, factor, finite or harmless)

    def _gradients(self, batches: Sequence[Batch], scored: float, step: int) -> float:
        """Accumulate the gradient of the mean over all scored tokens; returns that mean.

        Each micro-batch counts by its tokens, not as one of n: rows with ignored targets would
        otherwise weigh too much.
        """
        # Dropout is a function of (seed, step, rank): nothing to save, the same after a resume
        torch.manual_seed(draw(self.config.seed, step, self.world.rank) >> 1)
        total = 0.0
        try:
            for number, batch in enumerate(batches):
                last = number == len(batches) - 1
                with gradient_sync(self._plain, self.model, last):
                    total += self._forward_backward(batch.to(self.device), scored)
        except Exception as error:
            if not (self._may_fall_back and _from_compiler(error)):
                raise
            self._may_fall_back = False
            undo_compilation(self.model)
            self.forward, self._compiled = self._plain, False
            reason = str(error).strip().splitlines()[0]
            self.say(f"torch.compile does not work here, going on without it: {reason}")
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            return self._gradients(batches, scored, step)
        self._may_fall_back = False
        return self.world.sum(total, self.device)

    def _forward_backward(self, batch: Batch, scored: float) -> float:
        masks = batch.masks()
        if (
            self._compiled and "cu_seqlens" in masks
        ):  # another number of documents is no reason to compile again
            torch._dynamo.maybe_mark_dynamic(masks["cu_seqlens"], 0)
        with self.casting():
            _, loss = self.forward(batch.inputs, batch.targets, reduction="sum", **masks)
        loss = loss / scored
        # Processes exchange the mean of their gradients; what is wanted is the sum
        whole = loss * self.world.size
        (self.scaler.scale(whole) if self.scaler else whole).backward()
        return float(loss.detach())

    def casting(self) -> AbstractContextManager[Any]:
        """Autocast to the chosen type; nothing for float32."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def _clip(self) -> float:
        """Clip the gradient's norm to the configured limit; returns what it was."""
        if self.scaler:
            for optimizer in self.optimizers:
                self.scaler.unscale_(optimizer)
        limit = self.config.optim.grad_clip or math.inf
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        return full_value(torch.nn.utils.clip_grad_norm_(parameters, limit))

    def _apply(self) -> None:
        for optimizer in self.optimizers:
            if self.scaler:
                self.scaler.step(optimizer)
            else:
                optimizer.step()
        if self.scaler:
            self.scaler.update()


def _from_compiler(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
