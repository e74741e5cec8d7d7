"""Initial weights."""

from __future__ import annotations

import math

import torch
from torch import nn

from gptpy.config.model import GPTConfig


@torch.no_grad()
def initialise(model: nn.Module, config: GPTConfig) -> None:
    """Sets every weight in place, as `init_std`, `init_residual` and `init_head` say.

    Embeddings and linear layers: normal with `init_std`; biases zero; norms one. The projection of
    a narrow token embedding keeps its variance. Layers that
    write to the residual stream (`attention.out`, `mlp.down`): std over sqrt(2 n_layer) as in
    GPT-2, so that the stream's variance does not grow with depth, or zero.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            std = config.init_std
            if name.endswith(("attention.out", "mlp.down")):
                if config.init_residual == "scaled":
                    std /= math.sqrt(2 * max(config.n_layer, 1))
                elif config.init_residual == "zero":
                    std = 0.0
            elif name == "token_projection":
                std = module.in_features**-0.5
            elif name == "head" and config.init_head == "zero":
                std = 0.0
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            token = name.endswith("token_embedding")
            std = config.init_embedding_std if token else None
            nn.init.normal_(module.weight, 0.0, config.init_std if std is None else std)
