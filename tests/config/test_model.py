"""`GPTConfig`: presets, derived values, and errors that say what to do."""

import subprocess
import sys

import pytest

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.presets import PRESETS, RENAMED
from gptpy.config.run import RunConfig


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_survive_a_round_trip(name):
    config = GPTConfig.preset(name)
    assert GPTConfig.from_dict(config.to_dict()) == config
    assert None not in config.to_dict().values()


def test_derived_values():
    config = GPTConfig.preset("modern-1m", n_head=8, n_kv_head=2, window=16, full_attention_every=4)
    assert (config.kv_heads, config.head_size, config.hidden_size) == (2, 16, 384)
    assert [config.window_of_layer(i) for i in range(4)] == [16, 16, 16, None]
    config = GPTConfig.preset("gpt2")
    assert (config.kv_heads, config.head_size, config.hidden_size) == (12, 64, 3072)
    assert config.has_qkv_bias and not config.replace(qkv_bias=False).has_qkv_bias
    # None goes on meaning "derived" in copies.
    assert config.replace(n_head=6).kv_heads == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_embd": 130}, "n_embd = 130 is not a multiple of n_head = 12: take n_embd = 132"),
        ({"n_kv_head": 5}, r"n_kv_head = 5 does not divide n_head = 12: .*\[1, 2, 3, 4, 6, 12\]"),
        ({"n_layer": 0}, "n_layer = 0 belongs to architecture = 'bigram'"),
        ({"n_layer": 2.5}, "n_layer: expected an integer >= 0, got 2.5"),
        ({"n_layer": True}, "n_layer: expected an integer >= 0, got true"),
        ({"vocab_size": "big"}, "vocab_size: expected an integer > 0, got 'big'"),
        ({"position": "rotary"}, "position: expected one of learned, .*, got 'rotary'"),
        ({"norm": "rmsnrom"}, "did you mean 'rmsnorm'"),
        ({"dropout": 1.0}, r"dropout: expected a number in \[0, 1\), got 1.0"),
        ({"bias": 1}, "bias: expected true or false, got 1"),
        ({"norm_eps": 0.0}, "norm_eps: expected a number > 0, got 0.0"),
        ({"position": "rope", "head_dim": 7}, "even head_dim"),
        ({"window": 8, "architecture": "encoder"}, "window = 8 is causal"),
        ({"full_attention_every": 2}, "needs window"),
        ({"init_head": "zero"}, "set tied_head = false"),
        ({"n_encoder_layer": 2}, "belongs to architecture"),
        ({"attention_softcap": -1.0}, "attention_softcap: expected a number > 0, got -1.0"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ConfigError, match=message):
        GPTConfig(**settings)


def test_unknown_names_come_with_a_hint():
    with pytest.raises(ConfigError, match=r"no preset 'modern-10'.*did you mean 'modern-10m'"):
        GPTConfig.preset("modern-10")
    with pytest.raises(ConfigError, match="unknown key n_layers; did you mean n_layer"):
        GPTConfig.preset("gpt2", n_layers=3)
    with pytest.raises(ConfigError, match="unknown key blok_size; did you mean block_size"):
        GPTConfig.from_dict({"blok_size": 3})


def test_former_names_of_presets_still_open():
    assert set(RENAMED.values()) <= set(PRESETS) and not set(RENAMED) & set(PRESETS)
    for old, new in RENAMED.items():
        given = {"model": {"preset": old, "n_layer": 2}}
        assert RunConfig.from_mapping(given).model == GPTConfig.preset(new, n_layer=2)


def test_config_and_package_import_without_torch():
    code = "import gptpy, gptpy.config.run, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
