"""Quicker layers in place of the plain ones of `transformer.py`; here is which, and where.

A quick layer is a subclass that computes the same with the same weights under the same names, so
`install` only changes a layer's class. `plain_formulas` turns all of them off.

A small model on a CPU spends more time between its matrix products than in them: every step of a
formula is a pass over memory and a call, and two more in the backward pass. The CPU forms compute
in fp32 with as few passes as torch's operators allow, and with gradients written by hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn

from gptpy.model.attention.reference import reference
from gptpy.model.fast.fused_layers import (
    FusedHeadLoss,
    FusedNormBlock,
    FusedRMSNorm,
    FusedRotation,
    FusedSwiGLU,
)
from gptpy.model.fast.layers import (
    ChunkedHeadLoss,
    CpuRMSNorm,
    CpuSelfAttention,
    CpuSwiGLU,
    ReproducibleEmbedding,
)
from gptpy.model.transformer import MLP, Block, HeadLoss, RMSNorm, SelfAttention, swiglu


class Replacement(NamedTuple):
    plain: type[nn.Module]
    quick: type[nn.Module]
    fits: Callable[[str, Any], bool] = lambda name, layer: True
    """Whether it takes the place of the layer with this name in the network."""


def _is_swiglu(name: str, layer: Any) -> bool:
    return layer.activation is swiglu


def _is_wide(name: str, layer: Any) -> bool:
    """False for norms of single heads, whose short rows would leave a kernel's program idle."""
    return not name.endswith(("q_norm", "k_norm"))


# Always installed. Each computes the plain formula unless it runs on a CPU, eagerly (the embedding:
# compiled; the loss: anywhere, without gradients); see `layers.py`.
CPU = (
    Replacement(RMSNorm, CpuRMSNorm),
    Replacement(SelfAttention, CpuSelfAttention),
    Replacement(MLP, CpuSwiGLU, _is_swiglu),
    Replacement(nn.Embedding, ReproducibleEmbedding),
    Replacement(HeadLoss, ChunkedHeadLoss),
)
# Installed by name on request (`LanguageModel.select_fusions`), before those above.
KERNELS = {
    "cross_entropy": (Replacement(HeadLoss, FusedHeadLoss),),
    "rms_norm": (Replacement(RMSNorm, FusedRMSNorm, _is_wide), Replacement(Block, FusedNormBlock)),
    "rope": (Replacement(SelfAttention, FusedRotation),),
    "swiglu": (Replacement(MLP, FusedSwiGLU, _is_swiglu),),
}
PLAIN = {r.quick: r.plain for group in (CPU, *KERNELS.values()) for r in group}


def install(model: nn.Module, kernels: Iterable[str] = ()) -> None:
    """Gives every layer of `model` its quick class, of `KERNELS` only the groups named."""
    chosen = [r for name in kernels for r in KERNELS[name]] + list(CPU)
    for name, layer in model.named_modules():
        plain = PLAIN.get(type(layer), type(layer))
        quick = (r.quick for r in chosen if r.plain is plain and r.fits(name, layer))
        layer.__class__ = next(quick, plain)


@functools.cache
def _plain_class(quick: type[nn.Module]) -> type[nn.Module]:
    """The class with the formula; sharding has put a class of its own in front of a block's."""
    if quick in PLAIN:
        return PLAIN[quick]
    bases = tuple(PLAIN.get(base, base) for base in quick.__bases__)
    return quick if bases == quick.__bases__ else type(quick.__name__, bases, {})


@contextmanager
def plain_formulas(model: Any) -> Iterator[None]:
    """The switch: inside, `model` runs `transformer.py` and `attention/reference.py` alone."""
    classes = [(layer, type(layer)) for layer in model.modules()]
    attend = model.attend
    for layer, quick in classes:
        layer.__class__ = _plain_class(quick)
    model.attend = reference
    try:
        yield
    finally:
        model.attend = attend
        for layer, quick in classes:
            layer.__class__ = quick
