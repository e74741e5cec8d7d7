"""What positions need beside learned weights: never saved, never trained, always fp32."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gptpy.config.model import GPTConfig


def position_tables(c: GPTConfig, length: int | None = None) -> dict[str, Tensor]:
    """The tables of `c.position` by name, for `length` (default: `block_size`) positions, fp32.

    Nothing for "learned" and "none".
    """
    C, D, H = c.n_embd, c.head_size, c.n_head
    length = c.block_size if length is None else length
    positions = torch.arange(length, dtype=torch.float64)[:, None]
    if c.position == "sinusoidal":  # Vaswani et al. 2017, section 3.5: sine, cosine, sine, ...
        columns = torch.arange(0, C, 2, dtype=torch.float64)
        angles = positions * torch.exp(columns * (-math.log(10000.0) / C))
        return {"sinusoids": torch.stack((angles.sin(), angles.cos()), -1).flatten(1).float()}
    if c.position == "rope":  # Su et al. 2021: (length, D / 2)
        angles = positions * c.rope_theta ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
        return {"cos": angles.cos().float(), "sin": angles.sin().float()}
    if c.position == "alibi":  # Press et al. 2022: what a head subtracts for a token of distance
        n = 2 ** int(math.log2(H))  # other counts take every second slope of the next power of two
        exponents = [8 * i / n for i in range(1, n + 1)] + [4 * i / n for i in range(1, 2 * n, 2)]
        return {"slopes": torch.tensor([2**-e for e in exponents[:H]], dtype=torch.float32)}
    return {}


class FixedTables(nn.Module):
    """The tensors of `make()` by name, as in a dict, on the device of the network.

    They are made on the CPU and moved, because not every device has float64. Moving or casting a
    network only moves them: `make` is called again. A cast to bf16 would leave cosines wrong in the
    third digit, and `to_empty`, which follows construction on the meta device, would leave them
    undefined.
    """

    def __init__(self, make: Callable[[], dict[str, Tensor]]) -> None:
        super().__init__()
        self.make = make
        device = torch.empty(0).device  # of a surrounding `with torch.device(...)`, too
        for name, tensor in self._made_on(device).items():
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
            self._buffers.update(self._made_on(device))
        return self

    def _made_on(self, device: torch.device) -> dict[str, Tensor]:
        with torch.device("cpu"):
            tables = self.make()
        return {name: tensor.to(device) for name, tensor in tables.items()}
