"""The smallest language model: a table from a token to the logits of the next."""

from __future__ import annotations

from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.attention.reference import ForwardState
from gptpy.model.parameters import initialise
from gptpy.model.transformer import cross_entropy


class BigramTable(nn.Module):
    """`table[ids]` is the logits; called as `transformer.Transformer`."""

    def __init__(self, c: GPTConfig) -> None:
        super().__init__()
        self.config = c
        self.token_embedding = nn.Embedding(c.vocab_size, c.vocab_size)
        initialise(self, c)

    def forward(
        self,
        ids: Tensor,
        targets: Tensor | None = None,
        *,
        reduction: str = "mean",
        last_only: bool = False,
        return_logits: bool = False,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Logits `(B, T, V)`, or the loss where `targets: (B, T)` are given, or both."""
        ForwardState().span(ids, self.config.block_size)  # only checked
        logits = self.token_embedding(ids[:, -1:] if last_only and targets is None else ids)
        if targets is None:
            return logits, None
        return logits if return_logits else None, cross_entropy(logits, targets, reduction)
