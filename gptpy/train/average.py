"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gptpy.devices.processes import reshard


class Average:
    """The moving average of a model's parameters: `average = d * average + (1 - d) * weights`.

    `d` is `decay`, but at most `(1 + step) / (10 + step)`: early in a run the average follows
    faster, so that it forgets the random initial weights.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self.decay = decay
        self._model = model
        self._weights = dict(model.named_parameters())
        self.tensors: dict[str, Tensor] = {}
        self.restart()

    def restart(self) -> None:
        """Begin with the weights as they are now."""
        for name, weight in self._weights.items():
            self.tensors[name] = weight.detach().clone()

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` updates."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, weight in self._weights.items():
            self.tensors[name].lerp_(weight.detach(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the model's weights are the averaged ones."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def take(self) -> None:
        """Give the model the averaged weights for good."""
        self._swap()
        self.restart()

    @torch.no_grad()
    def _swap(self) -> None:
        # A forward may leave gathered weights behind, which the next forward would use unchanged
        reshard(self._model)
        for name, weight in self._weights.items():
            kept = weight.detach().clone()
            weight.copy_(self.tensors[name])
            self.tensors[name].copy_(kept)
