"""Where attention looks: the weights that the fast back ends never hold, computed in the open."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gptpy.model.attention import attention_bias
from gptpy.model.context import Context
from gptpy.model.cross_attention import CrossAttention
from gptpy.model.self_attention import SelfAttention

KINDS = ("self", "cross", "encoder")


@torch.inference_mode()
def attention_maps(model: nn.Module, ids: Tensor, **inputs: Any) -> dict[str, list[Tensor]]:
    """Attention weights of every layer for `ids: (1, T)`, fp32, by what looks at what.

    "self": `(H, T, T)` a layer; of an encoder-decoder (with `source: (1, S)` among the inputs) also
    "cross": `(H, T, S)` and "encoder": `(H, S, S)`.
    """
    maps: dict[str, list[Tensor]] = {}

    def hook(kind: str) -> Any:
        def keep(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            x, context = arguments
            weights = _cross(module, x, context) if kind == "cross" else _self(module, x, context)
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


def _self(layer: Any, x: Tensor, context: Context) -> Tensor:
    rows = layer.heads + 2 * layer.kv_heads
    heads = layer.qkv(x).view(*x.shape[:2], rows, layer.head_dim)
    q, k, _ = layer.prepare(heads, context.rotation)
    scores = _scores(q, k, layer.softcap)
    bias = attention_bias(
        q.shape[1],
        k.shape[1],
        causal=context.causal,
        window=layer.window,
        alibi_slopes=context.alibi_slopes,
        device=q.device,
    )
    if bias is not None:
        masked = bias.dtype == torch.bool
        scores = scores.masked_fill(~bias, -math.inf) if masked else scores + bias[0]
    return scores.softmax(-1)


def _cross(layer: Any, x: Tensor, context: Context) -> Tensor:
    q = layer.q(x).view(*x.shape[:2], layer.heads, layer.head_dim)
    if layer.q_norm is not None:
        q = layer.q_norm(q)
    k, _ = layer.keys_and_values(context)
    return _scores(q, k, layer.softcap).softmax(-1)


def _scores(q: Tensor, k: Tensor, softcap: float | None) -> Tensor:
    k = k.repeat_interleave(q.shape[2] // k.shape[2], dim=2)
    scores = torch.einsum("qhd,khd->hqk", q[0].float(), k[0].float()) / math.sqrt(q.shape[-1])
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)
