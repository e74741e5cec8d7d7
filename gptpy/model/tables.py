"""Tensors that follow from the configuration: never saved, never trained, always fp32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class FixedTables(nn.Module):
    """Tensors from `make()`, by name as in a dict, on the device of the module they belong to.

    Moving a module casts its buffers, and bf16 cosines are wrong in the third digit; filling a
    module that was made on the meta device leaves them undefined. So they are made anew instead.
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
        name, buffer = next(iter(self._buffers.items()))
        assert buffer is not None
        device = fn(torch.empty(0, device=buffer.device)).device
        if buffer.device != device:
            with torch.device(device):
                tables = self.make()
            for name, tensor in tables.items():
                self._buffers[name] = tensor
        return self
