"""Head and loss without gradients: in chunks of scored tokens, so that all logits never exist."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gptpy.model.checks import check_reduction
from gptpy.model.transformer import IGNORE, HeadLoss, cross_entropy

LOGITS_AT_ONCE = 1 << 23  # 32 MB in fp32


class ChunkedHeadLoss(HeadLoss):
    """The plain layer with gradients; without them, memory does not grow with the batch."""

    def forward(self, hidden: Tensor, weight: Tensor, targets: Tensor, reduction: str) -> Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(hidden, weight, targets, reduction)
        reduction = check_reduction(reduction)
        losses = torch.zeros(targets.shape, dtype=torch.float32, device=hidden.device)
        scored = targets != IGNORE
        parts = [
            cross_entropy(logits, wanted, "none")
            for logits, wanted in scored_chunks(self, hidden, weight, targets)
        ]
        losses[scored] = torch.cat([*parts, losses.new_empty(0)])
        if reduction == "none":
            return losses
        return losses.sum() if reduction == "sum" else losses.sum() / scored.sum()


def scored_chunks(
    head: HeadLoss, hidden: Tensor, weight: Tensor, targets: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits `(n, V)` and targets `(n,)` of the scored tokens, a chunk at a time, in order.

    `hidden: (B, T, E)`, `weight: (V, E)`, `targets: (B, T)`.
    """
    scored = targets != IGNORE
    step = max(1, LOGITS_AT_ONCE // weight.shape[0])
    for part, wanted in zip(hidden[scored].split(step), targets[scored].split(step), strict=True):
        yield head.logits(part, weight), wanted
