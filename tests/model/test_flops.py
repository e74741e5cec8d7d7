"""Counted operations against torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gptpy.config import GPTConfig
from gptpy.config.lora import LoraConfig
from gptpy.model import build_model, flops_per_token
from gptpy.model.lora import add_adapters

SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 29, "block_size": 16}


@pytest.mark.parametrize("embeddings", [False, True])
@pytest.mark.parametrize("targets", [["qkv", "out", "up", "down"], ["qkv"], ["down"]])
def test_adapters_save_the_gradients_of_what_is_frozen(targets, embeddings):
    config = GPTConfig.preset("gpt2", n_layer=3, n_embd=64, n_head=4, block_size=16, vocab_size=256)
    model = build_model(config)
    add_adapters(model, LoraConfig(rank=4, targets=targets, embeddings=embeddings))
    model.attention_backend = "reference"
    ids = torch.randint(256, (2, 16))
    with FlopCounterMode(display=False) as counter:
        model(ids, ids)[1].backward()
    masked = 3 * 3 * 4 * 64 * (16 - (16 + 1) // 2)  # products that the reference computes
    found = flops_per_token(model, 16)
    assert found == pytest.approx(counter.get_total_flops() / 32 - masked, rel=0.02)
    assert found < flops_per_token(build_model(config), 16)


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
