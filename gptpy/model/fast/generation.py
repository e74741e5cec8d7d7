"""Blocks for generation: the plain formula without what only training and inspection need.

A step of one token computes little between its matrix products, so that the calls count: of modules
by way of hooks, of dropout that is off, and of sums into new memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gptpy.model.transformer import Block, ForwardState


class GenerationBlock(Block):
    """A block in evaluation mode; with gradients, or alone, it computes as `Block` does.

    Hooks on its layers do not run, because their `forward` is called directly.
    """

    def forward(
        self, x: Tensor, state: ForwardState | None = None, *, return_attention: bool = False
    ) -> Any:
        if state is None or return_attention or self.training or torch.is_grad_enabled():
            return super().forward(x, state, return_attention=return_attention)
        # The residual stream is added to what a layer has just made: x itself may be someone else's.
        x = self.attention.forward(self.attention_norm.forward(x), state).add_(x)
        if self.cross_norm is not None and self.cross_attention is not None:
            x = self.cross_attention.forward(self.cross_norm.forward(x), state).add_(x)
        return self.mlp.forward(self.mlp_norm.forward(x)).add_(x)
