"""The position-wise half of a block."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.fast import lean_pays, swiglu


def _relu2(x: Tensor) -> Tensor:
    return F.relu(x).square()


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "relu": F.relu,
    "relu2": _relu2,
    "silu": F.silu,
    "swiglu": F.silu,
    "geglu": F.gelu,
}


class MLP(nn.Module):
    """`down(act(up(x)))`, gated: `down(act(gate(x)) * up(x))`; `(..., n_embd)` in and out.

    Gate and up are one matrix, `up.weight: (2 * hidden, n_embd)`, gate's rows first: one product
    of twice the width keeps the cores busier than two.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, hidden = config.n_embd, config.hidden_size
        self.gated = config.gated
        self.swiglu = config.activation == "swiglu"
        self.fusions: frozenset[str] = frozenset()
        self.activation = ACTIVATION_FUNCTIONS[config.activation]
        self.up = nn.Linear(width, 2 * hidden if self.gated else hidden, bias=config.bias)
        self.down = nn.Linear(hidden, width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        if self.swiglu and "swiglu" in self.fusions:
            from gptpy_kernels import swiglu as kernel

            return self.down(kernel(x, backend="triton"))
        if self.swiglu and lean_pays(x):
            return self.down(swiglu(x))
        if self.gated:
            gate, x = x.chunk(2, dim=-1)
            return self.down(self.activation(gate) * x)
        return self.down(self.activation(x))
