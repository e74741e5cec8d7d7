"""Attention weights of a network, computed by the formula: fast back ends do not keep them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gptpy.model.attention.reference import recording
from gptpy.model.transformer import CrossAttention, SelfAttention

KINDS = ("self", "cross", "encoder")


@torch.inference_mode()
def attention_maps(model: Any, ids: Tensor, **inputs: Any) -> dict[str, list[Tensor]]:
    """Attention weights of every layer for `ids: (B, T)`, fp32 on the CPU, by kind of attention.

    "self": `(B, H, T, T)` a layer, for a single row `(H, T, T)`. An encoder-decoder, with
    `source: (B, S)` among the `inputs`, has "cross": `(B, H, T, S)` and "encoder": `(B, H, S, S)`,
    too. The `inputs` are the model's: its masks are honoured, what a token does not see has weight
    zero.
    """
    maps: dict[str, list[Tensor]] = {}
    kind = ""

    def keep(weights: Tensor) -> None:
        maps.setdefault(kind, []).append(
            (weights[0] if len(weights) == 1 else weights).float().cpu()
        )

    def announce(which: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            nonlocal kind
            kind = which

        return hook

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, SelfAttention):
            which = "encoder" if name.startswith("encoder_blocks.") else "self"
            handles.append(module.register_forward_pre_hook(announce(which)))
        elif isinstance(module, CrossAttention):
            handles.append(module.register_forward_pre_hook(announce("cross")))
    was_training, attend = model.training, getattr(model, "attend", None)
    model.eval()
    model.attend = recording(keep)
    try:
        model(ids, **inputs)
    finally:
        model.attend = attend
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return maps
