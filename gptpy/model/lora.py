"""LoRA (Hu et al. 2021): low-rank adapters are trained instead of the weights, and merged later."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptpy.config.errors import ConfigError
from gptpy.config.lora import LoraConfig
from gptpy.devices.selection import total_memory
from gptpy.model.size import WEIGHT_BYTES, gigabytes


class LoraLinear(nn.Linear):
    """`linear(x) + alpha / rank * B A dropout(x)`; `(..., in)` to `(..., out)`.

    `weight` and `bias` keep their names and are frozen. A, `lora_a: (rank, in)`, starts random and
    B, `lora_b: (out, rank)`, at zero, so that training starts from the model as it was.
    """

    def __init__(self, linear: nn.Linear, config: LoraConfig) -> None:
        bias = linear.bias is not None
        super().__init__(linear.in_features, linear.out_features, bias=bias, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = config.alpha / config.rank
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        like = linear.weight
        self.lora_a = nn.Parameter(like.new_empty(config.rank, linear.in_features))
        self.lora_b = nn.Parameter(like.new_zeros(linear.out_features, config.rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))  # as nn.Linear does

    def forward(self, input: Tensor) -> Tensor:
        low = F.linear(self.dropout(input), self.lora_a)
        return super().forward(input) + F.linear(low, self.lora_b) * self.scale

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain layer that computes the same, its weight being the sum `weight + scale B A`."""
        bias = self.bias is not None
        plain = nn.Linear(self.in_features, self.out_features, bias=bias, device="meta")
        low_rank = self.lora_b.float() @ self.lora_a.float() * self.scale
        plain.weight = nn.Parameter((self.weight.float() + low_rank).to(self.weight.dtype))
        if bias:
            plain.bias = nn.Parameter(self.bias)
        return plain


def add_adapters(model: nn.Module, config: LoraConfig) -> list[str]:
    """Freezes `model` and adapts the layers that `config` names; returns their full names.

    With `config.embeddings`, token embedding and head are trained, too. Raises `ConfigError` when
    the model has no layer of these names.
    """
    for name, parameter in model.named_parameters():
        table = name in ("token_embedding.weight", "head.weight")
        parameter.requires_grad_(table and config.embeddings)
    chosen = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "." in name and name.split(".")[-1] in config.targets
    ]
    if not chosen:
        raise ConfigError(f"this model has none of the layers {', '.join(config.targets)}")
    count = sum(config.rank * (m.in_features + m.out_features) for _, m in chosen)
    memory = total_memory(chosen[0][1].weight.device)
    if memory is not None and count * WEIGHT_BYTES > memory:
        raise ConfigError(
            f"lora.rank {config.rank}: the adapters need {gigabytes(count * WEIGHT_BYTES)} of "
            f"memory, there are {gigabytes(memory)}: take a smaller rank"
        )
    for name, linear in chosen:
        _replace(model, name, LoraLinear(linear, config))
    return [name for name, _ in chosen]


def merge_adapters(model: nn.Module) -> None:
    """Turns every adapted layer into a plain one, in place, and makes all parameters trainable."""
    adapted = [(name, m) for name, m in model.named_modules() if isinstance(m, LoraLinear)]
    for name, module in adapted:
        _replace(model, name, module.merged())
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
