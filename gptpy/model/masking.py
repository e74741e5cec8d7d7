"""The masked-token objective, which encoders are trained with."""

from __future__ import annotations

import torch
from torch import Tensor

from gptpy.model.transformer import IGNORE


def mask_tokens(
    ids: Tensor,
    mask_id: int,
    vocab_size: int,
    *,
    probability: float = 0.15,
    real: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Inputs and targets for an encoder, both `(B, T)` int64, from `ids: (B, T)`.

    Each token that is `real: (B, T)` (default: all) is chosen with `probability`. Of the chosen,
    80 % become `mask_id`, 10 % a random id, 10 % stay (Devlin et al. 2019, section 3.1). Targets
    are the chosen ids and `IGNORE` elsewhere. `ValueError` for a probability outside (0, 1].
    """
    if not 0 < probability <= 1:
        raise ValueError(f"probability: expected a number in (0, 1], got {probability}")
    draw = torch.rand(ids.shape, generator=generator, device=ids.device)
    chosen = draw < probability
    if real is not None:
        chosen &= real.bool()
    # The draws of chosen tokens are uniform in [0, probability): they decide the second time, too.
    masked = chosen & (draw < 0.8 * probability)
    replaced = chosen & ~masked & (draw < 0.9 * probability)
    random_ids = torch.randint(vocab_size, ids.shape, generator=generator, device=ids.device)
    inputs = torch.where(masked, mask_id, torch.where(replaced, random_ids, ids))
    return inputs, torch.where(chosen, ids, IGNORE)
