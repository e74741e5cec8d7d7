"""The speed of training: tokens per second, and the share of the device's peak."""

from __future__ import annotations

from typing import Any

import torch

from gptpy.devices.peak import peak_flops
from gptpy.devices.processes import World
from gptpy.model import flops_per_token
from gptpy.train.state import TrainState


class Meter:
    """Speed since the last reading, from the seconds and tokens of `state`.

    The share of the peak (MFU, model FLOPs utilisation: Chowdhery et al. 2022) counts the products
    that the model needs, at `block_size` tokens a sequence, against the peak of all devices.
    """

    def __init__(
        self, state: TrainState, model: Any, block_size: int, dtype: torch.dtype, world: World
    ) -> None:
        self.state = state
        self.flops = flops_per_token(model, block_size)
        peak = peak_flops(next(model.parameters()).device, dtype)
        self.peak = None if peak is None else peak * world.size
        self.seconds, self.tokens = state.seconds, state.tokens

    def pause(self, seconds: float) -> None:
        """Leave out time in which nothing was trained."""
        self.seconds += seconds

    def read(self) -> dict[str, float]:
        """`tokens_per_second` and, where the peak is known, `mfu`."""
        state = self.state
        rate = (state.tokens - self.tokens) / max(state.seconds - self.seconds, 1e-9)
        self.seconds, self.tokens = state.seconds, state.tokens
        known = {} if self.peak is None else {"mfu": rate * self.flops / self.peak}
        return {"tokens_per_second": rate, **known}
