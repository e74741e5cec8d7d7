"""The model in the number type that generation multiplies in: cast once, not at every step."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptpy.config.errors import ConfigError
from gptpy.devices.selection import DTYPES
from gptpy.model.fast.generation import for_generation
from gptpy.model.lora import merge_adapters

NUMBER_TYPES = (*DTYPES, "int8")
FEW_ROWS = 8
"""torch's product with int8 weights pays for few rows; for more the weights are widened first."""
SMALL = 1 << 18
"""Numbers of a matrix up to which the time around a product decides, not the product."""
PACKED_FOR = 32
"""Rows that oneDNN is told to expect: a layout that suits every number of rows from 2 on."""


class Int8Linear(nn.Module):
    """`x W^T + b` with W in 8 bits and a scale for each row of W; in the type of x.

    On a CPU each row of x is rounded to 8 bits, too, and the products are added up as integers:
    exact, so that a row's result does not depend on the other rows. Elsewhere x keeps its type.
    """

    weight: Tensor
    scales: Tensor
    bias: Tensor | None
    tiny: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        wide = weight.detach().float().contiguous()
        scales = (wide.abs().amax(1) / 127).clamp_(min=torch.finfo(torch.float32).tiny)
        self.register_buffer("weight", (wide / scales[:, None]).round_().to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if bias is None else bias.detach().float())
        self.register_buffer("tiny", self.scales.new_full((1, 1), 1e-30))
        # As a tuple, because finding a module's buffer takes as long as a small operator
        self.operands = self.tiny, self.weight.T, self.scales, self.bias
        self.product = self._by_integers if multiplies_integers(weight.device) else self._widened

    def forward(self, x: Tensor) -> Tensor:
        out = self.product(x.reshape(-1, x.shape[-1]))
        if out.dtype != x.dtype:
            out = out.to(x.dtype)
        return out.view(*x.shape[:-1], -1)

    def _by_integers(self, x: Tensor) -> Tensor:
        tiny, columns, scales, bias = self.operands
        if x.dtype != torch.float32:
            x = x.float()
        largest = x.abs().amax(-1, keepdim=True)
        steps = torch.add(tiny, largest, alpha=1 / 127)  # not 0, which divides below
        # The sum of a row's products stays below 2^31 up to 130,000 columns.
        rounded = (x / steps).round_().to(torch.int8)
        sums = torch._int_mm(rounded, columns)  # pyright: ignore[reportPrivateImportUsage]
        out = sums * scales
        return out.mul_(steps) if bias is None else torch.addcmul(bias, out, steps)

    def _widened(self, x: Tensor) -> Tensor:
        # torch's product reads past the end of rows that are no multiple of its vectors.
        if x.device.type == "cpu" and x.shape[1] % 16 == 0 and len(x) <= FEW_ROWS:
            scales = self.scales.to(x.dtype)
            out = torch.ops.aten._weight_int8pack_mm(x, self.weight, scales)
        else:
            out = F.linear(x, self.weight.to(x.dtype)) * self.scales.to(x.dtype)
        return out if self.bias is None else out + self.bias.to(x.dtype)


def multiplies_integers(device: torch.device) -> bool:
    """Whether products of 8-bit numbers are quick: oneDNN's on x86."""
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    )


class TransposedLinear(nn.Module):
    """`x W^T + b` with `W^T` in memory: a call takes less time than oneDNN's, which decides where W
    is small. A row's last bits may depend on the number of rows."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("weight", weight.detach().T.contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.operands = self.weight, self.bias

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.operands
        rows = x.reshape(-1, x.shape[-1])
        out = torch.mm(rows, weight) if bias is None else torch.addmm(bias, rows, weight)
        return out.view(*x.shape[:-1], -1)


class PackedLinear(nn.Module):
    """`x W^T + b` by oneDNN, which has W in its own layout: other layouts cost it a conversion at
    every call with several rows. A single row in bfloat16 is quickest with W as it is."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        kept = weight.dtype == torch.bfloat16
        self.register_buffer("weight", weight.detach() if kept else None)
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), PACKED_FOR)
        self.product = torch.ops.mkldnn._linear_pointwise.default
        self.operands = self.weight, self.packed, self.bias

    def forward(self, x: Tensor) -> Tensor:
        plain, packed, bias = self.operands
        if plain is not None and x.numel() == x.shape[-1]:  # as a matrix: fewer operators inside
            return F.linear(x.view(1, -1), plain, bias).view(*x.shape[:-1], -1)
        return self.product(x, packed, bias, "none", [], "")


class HalfLinear(nn.Module):
    """`x W^T + b` with W in float16, x and the result in fp32, by FBGEMM: half the bytes to read,
    and less time around a product than oneDNN takes, which counts for a single row."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        wide = weight.detach().float().contiguous()
        self.packed = torch.ops.quantized.linear_prepack_fp16.default(
            wide, None if bias is None else bias.detach().float()
        )
        self.product = torch.ops.quantized.linear_dynamic_fp16.default

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, self.packed)


@functools.cache
def widens_half(device: torch.device) -> bool:
    """Whether `HalfLinear` computes here; by trial, because it depends on how torch was built."""
    if not multiplies_integers(device):
        return False
    weight, x = torch.eye(16), torch.arange(16.0)[None]
    try:
        return torch.equal(HalfLinear(weight)(x), x)
    except (AttributeError, RuntimeError):
        return False


def packs(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `PackedLinear` pays: fp32 on x86, bfloat16 on a CPU that multiplies it."""
    operators = torch.ops.mkldnn
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    if not multiplies_integers(device) or not all(hasattr(operators, name) for name in names):
        return False
    half = dtype == torch.bfloat16 and bool(operators._is_mkldnn_bf16_supported())
    return half or dtype == torch.float32


def prepare(model: Any, number_type: str | None, *, exact: bool = True) -> tuple[Any, Head | None]:
    """The network in `number_type`, of `NUMBER_TYPES`, and its head: `(N, C)` to `(N, V)` in fp32.

    The caller's model stays as it is: the network is a copy with merged adapters, which shares the
    weights that keep their type. "int8": linear layers in 8 bits, everything else in fp32 on a CPU,
    in bfloat16 on other devices. "float16" on x86: the weights of linear layers, everything else in
    fp32. The head is None for a bigram. None: as the model is. Without `exact`, the bits of a row
    in fp32 may depend on the number of rows.
    """
    number_type = resolved(model, number_type)
    # Parameters are found in the memo instead of being copied; a cast then makes new ones.
    shared = {id(p): p for p in (*model.parameters(), *model.buffers())}
    network = copy.deepcopy(model, shared).eval()
    with torch.no_grad():
        for module in network.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(parameter.detach(), requires_grad=False))
        merge_adapters(network)
        network.requires_grad_(False).to(_between_layers(model, number_type))
        if network.config.architecture == "bigram":
            return network, None
        choose = partial(_layer_for, number_type, exact)
        head = Head(network, choose)
        _replace_linear(network, choose)
        for block in network.blocks:
            for_generation(block)
        return network, head


def _layer_for(number_type: str, exact: bool, weight: Tensor) -> type[nn.Module] | None:
    """The class of the layer that multiplies by `weight`; None: as torch does it."""
    if number_type == "int8":
        return Int8Linear
    if number_type == "float16" and widens_half(weight.device):
        return HalfLinear
    if not packs(weight.device, weight.dtype):
        return None
    small = weight.dtype == torch.float32 and weight.numel() <= SMALL
    return TransposedLinear if small and not exact else PackedLinear


def resolved(model: Any, number_type: str | None) -> str:
    """The number type by name; `ConfigError` for one that does not exist."""
    if number_type is None:
        names = {dtype: name for name, dtype in DTYPES.items()}
        number_type = names.get(model.dtype, "float32")
    if number_type not in NUMBER_TYPES:
        raise ConfigError(
            f"number_type: expected one of {', '.join(NUMBER_TYPES)}, got {number_type!r}"
        )
    return number_type


def _between_layers(model: Any, number_type: str) -> torch.dtype:
    if number_type == "float16" and widens_half(model.device):
        return torch.float32
    if number_type != "int8":
        return DTYPES[number_type]
    return torch.float32 if multiplies_integers(model.device) else torch.bfloat16


class Head(nn.Module):
    """The output layer, from `(N, C)` to fp32 `(N, V)`."""

    def __init__(self, network: Any, choose: Callable[[Tensor], type[nn.Module] | None]) -> None:
        super().__init__()
        tied = network.head is None
        weight: Tensor = network.token_embedding.weight if tied else network.head.weight
        narrow = getattr(network, "token_projection", None) if tied else None
        self.output = _product(weight, choose)
        self.back = None if narrow is None else _product(narrow.weight.T.contiguous(), choose)
        self.cap: float | None = network.config.logit_softcap

    def forward(self, hidden: Tensor) -> Tensor:
        if self.back is not None:  # to the narrow embedding by the same matrix
            hidden = self.back(hidden)
        logits = self.output(hidden)
        # In the type of the product, as `HeadLoss.logits` does.
        return (logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)).float()


def _product(weight: Tensor, choose: Callable[[Tensor], type[nn.Module] | None]) -> nn.Module:
    layer = choose(weight)
    if layer is not None:
        return layer(weight)
    plain = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    plain.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return plain


def _replace_linear(network: Any, choose: Callable[[Tensor], type[nn.Module] | None]) -> None:
    """Replaces the linear layers between the embeddings."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear) and name != "head":  # the head is made apart
            layer = choose(module.weight)
            if layer is not None:
                parent, _, child = name.rpartition(".")
                setattr(network.get_submodule(parent), child, layer(module.weight, module.bias))
