"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gptpy.devices.sharding import reshard


class Average:
    """Follows a model's parameters: `average = decay * average + (1 - decay) * weights`.

    While young it follows faster, by `(1 + step) / (10 + step)`, so that the random start is
    soon forgotten.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self.decay = decay
        self._model = model
        self._weights = dict(model.named_parameters())
        self.tensors: dict[str, Tensor] = {
            name: weight.detach().clone() for name, weight in self._weights.items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` updates."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, weight in self._weights.items():
            self.tensors[name].lerp_(weight.detach(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model carries the averaged weights inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # A forward may leave gathered weights behind, which the next would take for current
        reshard(self._model)
        for name, weight in self._weights.items():
            kept = weight.detach().clone()
            weight.copy_(self.tensors[name])
            self.tensors[name].copy_(kept)
