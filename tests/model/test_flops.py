"""Counted operations against torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gptpy.config import GPTConfig
from gptpy.model import build_model, flops_per_token

SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 29, "block_size": 16}


def test_flops_are_those_of_the_products():
    for preset, architecture in (
        ("gpt2", "decoder"),
        ("modern-1m", "decoder"),
        ("gpt2", "encoder"),
    ):
        model = build_model(GPTConfig.preset(preset, architecture=architecture, **SHAPE)).eval()
        model.attention_backend = "reference"  # its products have all keys, masked or not
        with FlopCounterMode(display=False) as counter:
            model(torch.arange(16)[None])
        full = counter.get_total_flops() / 16
        width, layers, context = 32, 2, 16
        skipped = 0
        if architecture == "decoder":
            skipped = layers * 4 * width * (context - (context + 1) // 2)
        assert flops_per_token(model, 16, training=False) == pytest.approx(full - skipped, rel=0.01)
        assert flops_per_token(model, 16) == 3 * flops_per_token(model, 16, training=False)
