"""Attention weights for plots, computed by the formula: fast back ends do not keep them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gptpy.model.attention.reference import Masks
from gptpy.model.transformer import CrossAttention, ForwardState, SelfAttention

KINDS = ("self", "cross", "encoder")


@torch.inference_mode()
def attention_maps(model: nn.Module, ids: Tensor, **inputs: Any) -> dict[str, list[Tensor]]:
    """Attention weights of every layer for `ids: (1, T)`, fp32, by kind of attention.

    "self": `(H, T, T)` a layer. An encoder-decoder, with `source: (1, S)` among the `inputs`, has
    "cross": `(H, T, S)` and "encoder": `(H, S, S)`, too.
    """
    maps: dict[str, list[Tensor]] = {}

    def hook(kind: str) -> Any:
        def keep(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            x, state = arguments
            weights = _cross(module, x, state) if kind == "cross" else _self(module, x, state)
            maps.setdefault(kind, []).append(weights.cpu())

        return keep

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, SelfAttention):
            kind = "encoder" if name.startswith("encoder_blocks.") else "self"
            handles.append(module.register_forward_pre_hook(hook(kind)))
        elif isinstance(module, CrossAttention):
            handles.append(module.register_forward_pre_hook(hook("cross")))
    was_training = model.training
    model.eval()
    try:
        model(ids, **inputs)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return maps


def _self(layer: Any, x: Tensor, state: ForwardState) -> Tensor:
    q, k, _ = layer.queries_keys_values(x, state.rotation)
    scores = _scores(q, k, layer.softcap)
    mask = Masks(state.masks.causal, alibi_slopes=state.masks.alibi_slopes).combined(
        q, k, layer.window
    )
    if mask is not None:
        boolean = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -math.inf) if boolean else scores + mask[0]
    return scores.softmax(-1)


def _cross(layer: Any, x: Tensor, state: ForwardState) -> Tensor:
    q = layer.q(x).view(*x.shape[:2], layer.heads, layer.head_dim)
    q = q if layer.q_norm is None else layer.q_norm(q)
    k, _ = layer.keys_values(state)
    return _scores(q, k, layer.softcap).softmax(-1)


def _scores(q: Tensor, k: Tensor, softcap: float | None) -> Tensor:
    k = k.repeat_interleave(q.shape[2] // k.shape[2], dim=2)
    scores = torch.einsum("qhd,khd->hqk", q[0].float(), k[0].float()) / math.sqrt(q.shape[-1])
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)
