"""The model in the number type that generation multiplies in: cast once, not at every step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptpy.config.errors import ConfigError
from gptpy.devices.selection import DTYPES
from gptpy.model.lora import merge_adapters

NUMBER_TYPES = (*DTYPES, "int8")
FEW_ROWS = 8
"""torch's product with int8 weights pays for few rows; for more the weights are widened first."""


class Int8Linear(nn.Module):
    """`x W^T + b` with W in 8 bits and a scale for each row of W; activations in bfloat16."""

    weight: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        wide = weight.detach().float().contiguous()
        scales = (wide.abs().amax(1) / 127).clamp_(min=torch.finfo(torch.float32).tiny)
        self.register_buffer("weight", (wide / scales[:, None]).round_().to(torch.int8))
        self.register_buffer("scales", scales.to(torch.bfloat16))
        self.register_buffer("bias", None if bias is None else bias.detach().to(torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        # torch's product reads past the end of rows that are no multiple of its vectors.
        fits = rows.device.type == "cpu" and rows.shape[1] % 16 == 0
        if fits and len(rows) <= FEW_ROWS:
            out = torch.ops.aten._weight_int8pack_mm(rows, self.weight, self.scales)
        else:
            out = F.linear(rows, self.weight.to(rows.dtype)) * self.scales
        out = out if self.bias is None else out + self.bias
        return out.view(*x.shape[:-1], -1)


def prepare(model: Any, number_type: str | None) -> tuple[Any, Callable[[Tensor], Tensor] | None]:
    """The network in `number_type`, of `NUMBER_TYPES`, and its head: `(N, C)` to `(N, V)` in fp32.

    The caller's model stays as it is: the network is a copy with merged adapters, which shares the
    weights that keep their type. "int8": linear layers in 8 bits, everything else in bfloat16. The
    head is None for a bigram. None: as the model is.
    """
    if number_type is None:
        names = {dtype: name for name, dtype in DTYPES.items()}
        number_type = names.get(model.dtype, "float32")
    if number_type not in NUMBER_TYPES:
        raise ConfigError(
            f"number_type: expected one of {', '.join(NUMBER_TYPES)}, got {number_type!r}"
        )
    # Parameters are found in the memo instead of being copied; a cast then makes new ones.
    shared = {id(p): p for p in (*model.parameters(), *model.buffers())}
    network = copy.deepcopy(model, shared).eval()
    with torch.no_grad():
        for module in network.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(parameter.detach(), requires_grad=False))
        merge_adapters(network)
        network.requires_grad_(False).to(DTYPES.get(number_type, torch.bfloat16))
        if network.config.architecture == "bigram":
            return network, None
        if number_type == "int8":
            return network, _in_eight_bits(network)
    return network, lambda hidden: network.head_loss.logits(*_head_inputs(network, hidden)).float()


def _head_inputs(network: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """What the output layer multiplies, as `Transformer.forward` takes it."""
    if network.head is not None:
        return hidden, network.head.weight
    projection = getattr(network, "token_projection", None)
    if projection is not None:  # back to the narrow embedding by the same matrix
        hidden = F.linear(hidden, projection.weight.T)
    return hidden, network.token_embedding.weight


def _in_eight_bits(network: Any) -> Callable[[Tensor], Tensor]:
    """Replaces all linear layers of `network`; returns its head in 8 bits."""
    narrow = getattr(network, "token_projection", None) if network.head is None else None
    back = None if narrow is None else Int8Linear(narrow.weight.T)
    tied = network.token_embedding.weight
    output = Int8Linear(tied if network.head is None else network.head.weight)
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, child = name.rpartition(".")
            replaced = Int8Linear(module.weight, module.bias)
            setattr(network.get_submodule(parent), child, replaced)
    cap = network.config.logit_softcap

    def head(hidden: Tensor) -> Tensor:
        logits = output(hidden if back is None else back(hidden)).float()
        return logits if cap is None else cap * torch.tanh(logits / cap)

    return head
