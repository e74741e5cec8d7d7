"""The smallest language model: a table from a token to the logits of the next."""

from __future__ import annotations

from torch import Tensor

from gptpy.config.model import GPTConfig
from gptpy.model.base import LanguageModel, check_ids
from gptpy.model.embedding import TokenEmbedding
from gptpy.model.initialise import initialise
from gptpy.model.loss import cross_entropy


class Bigram(LanguageModel):
    """`table[ids]` is the logits; the interface of `GPT`, the baseline that it has to beat."""

    architectures = ("bigram",)

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.token_embedding = TokenEmbedding(config.vocab_size, config.vocab_size)
        initialise(self, config)

    def forward(
        self,
        ids: Tensor,
        targets: Tensor | None = None,
        *,
        reduction: str = "mean",
        last_only: bool = False,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Logits `(B, T, vocab)`, or the loss where `targets: (B, T)` are given."""
        check_ids(ids, self.config.block_size)
        logits = self.token_embedding(ids[:, -1:] if last_only and targets is None else ids)
        if targets is None:
            return logits, None
        return None, cross_entropy(logits, targets, reduction)
