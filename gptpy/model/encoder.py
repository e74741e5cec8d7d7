"""The encoder: every token sees every other; trained to restore masked ones, as BERT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gptpy.model.loss import IGNORE
from gptpy.model.transformer import Transformer


class Encoder(Transformer):
    """Logits of every token from all; `hidden_states` are its embeddings of the text.

    Pass `key_padding_mask` where rows were padded, and targets from `mask_tokens` for training.
    """

    architectures = ("encoder",)

    def generate(self, ids: Tensor, max_new_tokens: int, **settings: Any) -> Tensor:
        """An encoder does not generate: raises `ValueError`."""
        raise ValueError(
            "an encoder sees both directions and cannot continue a text: "
            "take architecture = 'decoder' or 'encoder-decoder'"
        )


def mask_tokens(
    ids: Tensor,
    mask_id: int,
    vocab_size: int,
    *,
    probability: float = 0.15,
    real: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Inputs and targets of the masked-token objective, both `(B, T)`, from `ids: (B, T)`.

    Each token that is `real: (B, T)` (default: all) is chosen with `probability`. Of the chosen,
    80 % become `mask_id`, 10 % a random id, 10 % stay (Devlin et al. 2019, section 3.1); targets
    are `IGNORE` wherever nothing was chosen.
    """
    if not 0 < probability <= 1:
        raise ValueError(f"probability: expected a number in (0, 1], got {probability}")
    fate = torch.rand(ids.shape, generator=generator, device=ids.device)
    chosen = fate < probability
    if real is not None:
        chosen &= real.bool()
    # One draw decides both: its place inside [0, probability) is uniform again.
    masked = chosen & (fate < 0.8 * probability)
    replaced = chosen & ~masked & (fate < 0.9 * probability)
    random_ids = torch.randint(vocab_size, ids.shape, generator=generator, device=ids.device)
    inputs = torch.where(masked, mask_id, torch.where(replaced, random_ids, ids))
    return inputs, torch.where(chosen, ids, IGNORE)
