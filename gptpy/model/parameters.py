"""Parameters: their initial values, and the groups that optimisers treat differently."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gptpy.config.model import GPTConfig

if TYPE_CHECKING:
    from gptpy.model.language_model import LanguageModel


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


GROUPS = ("matrices", "embeddings", "head", "scalars")


def parameter_groups(model: LanguageModel) -> list[dict[str, Any]]:
    """Every trainable parameter once, in the groups of `GROUPS` that are not empty.

    "matrices": weights of linear layers inside blocks, for Muon and for weight decay. "embeddings":
    tables of tokens and positions. "head": the untied output layer. "scalars": all vectors (norms,
    biases). Each group is `{"name", "params", "param_names", "row_splits"}`: `row_splits[i]` is the
    rows of the matrices that `params[i]` stacks (query, key and value; gate and up), which Muon
    orthogonalises separately, or None where it is one matrix.
    """
    tables = {
        f"{name}.{child}"
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
        for child, _ in module.named_parameters(recurse=False)
    }
    groups: dict[str, list[tuple[str, nn.Parameter]]] = {name: [] for name in GROUPS}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name in tables:
            group = "embeddings"
        elif parameter.dim() < 2:
            group = "scalars"
        else:
            group = "head" if name == "head.weight" else "matrices"
        groups[group].append((name, parameter))
    return [
        {
            "name": group,
            "params": [parameter for _, parameter in members],
            "param_names": [name for name, _ in members],
            "row_splits": [_row_splits(model, name) for name, _ in members],
        }
        for group, members in groups.items()
        if members
    ]


def _row_splits(model: LanguageModel, name: str) -> list[int] | None:
    c = model.config
    kv = c.kv_heads * c.head_size
    if name.endswith("attention.qkv.weight"):
        return [c.n_head * c.head_size, kv, kv]
    if name.endswith("attention.kv.weight"):
        return [kv, kv]
    if name.endswith("mlp.up.weight") and c.gated:
        return [c.hidden_size, c.hidden_size]
    return None
