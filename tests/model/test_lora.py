"""Adapters: only they are trained, and merging them changes nothing."""

from typing import Any

import pytest
import torch

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.lora import LoraConfig
from gptpy.model import build_model
from gptpy.model.lora import LoraLinear, add_adapters, merge_adapters

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "vocab_size": 40,
    "block_size": 32,
}


@pytest.mark.parametrize("preset", ["gpt2", "modern-1m"])
def test_only_adapters_train_and_merging_keeps_the_logits(preset):
    torch.manual_seed(0)
    settings = {"n_kv_head": 2, "init_head": "normal", "init_residual": "normal"}
    model = build_model(GPTConfig.preset(preset, **SHAPE, **(settings if preset != "gpt2" else {})))
    ids = torch.randint(40, (4, 32), generator=torch.Generator().manual_seed(1))
    before = model(ids)[0]
    frozen = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = add_adapters(model, LoraConfig(rank=4, alpha=8))
    assert len(names) == 2 * 4
    torch.testing.assert_close(model(ids)[0], before)  # B is zero
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[2] for name in trainable} == {"lora_a", "lora_b"}
    grouped = [n for g in model.configure_parameter_groups() for n in g["param_names"]]
    assert sorted(grouped) == sorted(trainable)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(5):
        model(ids, ids.roll(-1, 1))[1].backward()
        optimizer.step()
        optimizer.zero_grad()
    after = model(ids)[0].detach()
    assert (after - before).abs().max() > 1e-3
    for name, tensor in frozen.items():
        assert torch.equal(model.state_dict()[name], tensor), f"{name} has moved"
    merge_adapters(model)
    assert not any(isinstance(m, LoraLinear) for m in model.modules())
    assert model.state_dict().keys() == frozen.keys()
    torch.testing.assert_close(model(ids)[0].detach(), after, rtol=1e-5, atol=1e-5)
    assert all(p.requires_grad for p in model.parameters())


def test_adapters_need_layers():
    with pytest.raises(ConfigError, match="none of the layers kv"):
        add_adapters(build_model(GPTConfig(**SHAPE)), LoraConfig(targets=["kv"]))
    with pytest.raises(ConfigError, match=r"targets\[0\]: expected one of qkv, .*, got 'head'"):
        LoraConfig(targets=["head"])  # type: ignore[list-item]
