"""Tensors computed from the configuration: never saved, never trained, always fp32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class FixedTables(nn.Module):
    """The tensors of `make()` by name, as in a dict, on the device of the network.

    Moving or casting a network only moves them: `make` is called again on the new device. A cast to
    bf16 would leave cosines wrong in the third digit, and `to_empty`, which follows construction on
    the meta device, would leave them undefined.
    """

    def __init__(self, make: Callable[[], dict[str, Tensor]]) -> None:
        super().__init__()
        self.make = make
        for name, tensor in make().items():
            self.register_buffer(name, tensor, persistent=False)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._buffers[name]
        assert tensor is not None
        return tensor

    def _apply(self, fn, recurse: bool = True):
        buffer = next(iter(self._buffers.values()), None)
        if buffer is None:
            return self
        device = fn(torch.empty(0, device=buffer.device)).device
        if buffer.device != device:
            with torch.device(device):
                tables = self.make()
            for name, tensor in tables.items():
                self._buffers[name] = tensor
        return self
