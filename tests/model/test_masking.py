"""The masked-token objective."""

import pytest
import torch

from gptpy.model import IGNORE, mask_tokens


def test_masked_tokens():
    ids = torch.randint(5, 29, (64, 128), generator=torch.Generator().manual_seed(0))
    real = torch.ones_like(ids).bool()
    real[:, 100:] = False
    generator = torch.Generator().manual_seed(1)
    inputs, targets = mask_tokens(ids, 3, 29, real=real, generator=generator)
    chosen = targets != IGNORE
    assert not chosen[:, 100:].any()
    assert torch.equal(targets[chosen], ids[chosen])
    assert torch.equal(inputs[~chosen], ids[~chosen])
    assert chosen[:, :100].float().mean().item() == pytest.approx(0.15, abs=0.01)
    shares = [(inputs == 3), (inputs == ids)]
    masked, kept = (share[chosen].float().mean().item() for share in shares)
    assert masked == pytest.approx(0.8, abs=0.03)
    assert kept == pytest.approx(0.1, abs=0.03)
