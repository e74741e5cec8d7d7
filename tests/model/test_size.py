"""The size of a network is counted without building it, and what no memory holds is refused."""

import pytest
import torch

from gptpy.config import ConfigError, GPTConfig
from gptpy.devices import selection
from gptpy.model import build_model
from gptpy.model.size import check_size, count_parameters

SMALL = {"n_layer": 2, "n_head": 4, "n_embd": 16, "vocab_size": 11, "block_size": 8}


@pytest.mark.parametrize(
    "preset, more",
    [
        ("gpt2", {}),
        ("gpt2", {"tied_head": False, "bias": False, "head_dim": 6}),
        ("gpt2", {"norm_affine": False, "qkv_bias": False, "qk_norm": True}),
        ("gpt2", {"n_token_embd": 5}),
        ("gpt2", {"n_token_embd": 5, "tied_head": False}),
        ("modern-1m", {"n_kv_head": 2, "n_hidden": 9}),
        ("modern-1m", {"position": "sinusoidal", "norm": "layernorm", "bias": True}),
        ("encoder-mini", {}),
        ("encoder-decoder-mini", {"n_encoder_layer": 3, "qk_norm": True}),
        ("encoder-decoder-mini", {"bias": True, "norm": "layernorm", "n_kv_head": 1}),
    ],
)
def test_parameters_are_counted_as_they_are_built(preset, more):
    config = GPTConfig.preset(preset, **{**SMALL, **more})
    assert count_parameters(config) == build_model(config).num_parameters()


def test_a_bigram_is_counted():
    config = GPTConfig.preset("bigram", vocab_size=13)
    assert count_parameters(config) == build_model(config).num_parameters() == 169


@pytest.mark.parametrize(
    "setting", ["n_layer", "n_embd", "vocab_size", "block_size", "n_hidden", "head_dim"]
)
def test_what_no_memory_holds_is_refused_at_once(setting):
    huge = {"n_embd": 4 * 10**19}.get(setting, 99999999999999999999)
    config = GPTConfig(**{**SMALL, setting: huge})
    with pytest.raises(ConfigError, match=rf"needs .* GB of memory .*{setting}"):
        build_model(config)


def test_tables_of_positions_count():
    config = GPTConfig(**{**SMALL, "position": "rope", "block_size": 10**15})
    with pytest.raises(ConfigError, match=r"most of it for positions \(model\.block_size\)"):
        build_model(config)


def test_training_and_shards_change_what_is_needed(monkeypatch):
    config, device = GPTConfig(**SMALL), torch.device("cpu")
    needed = 4 * count_parameters(config)
    monkeypatch.setattr("gptpy.model.size.total_memory", lambda device: needed)
    check_size(config, device)
    check_size(config, device, bytes_per_parameter=16, parts=4)
    with pytest.raises(ConfigError, match="of memory for training"):
        check_size(config, device, bytes_per_parameter=16)


def test_a_container_limits_the_memory(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(selection, "CONTAINER_LIMIT", limit)
    machine = selection.total_memory(torch.device("cpu"))
    limit.write_text("max\n")
    assert selection.total_memory(torch.device("cpu")) == machine
    limit.write_text("1000000\n")
    if machine is not None:  # Windows does not say
        assert selection.total_memory(torch.device("cpu")) == 1000000
