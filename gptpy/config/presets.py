"""Named shapes for `GPTConfig.preset`."""

from __future__ import annotations

from typing import Any


def _gpt2(n_layer: int, n_head: int, n_embd: int, **more: Any) -> dict[str, Any]:
    # Radford et al. 2019: learned positions, LayerNorm and linear layers with biases, tanh-GELU,
    # tied head. GPTConfig's own defaults are this family.
    return {"n_layer": n_layer, "n_head": n_head, "n_embd": n_embd, **more}


def _gpt3(n_layer: int, n_head: int, n_embd: int) -> dict[str, Any]:
    # Brown et al. 2020, table 2.1, all layers dense. The table's 24 heads of 128 for 1.3 B and
    # 5140 wide for 13 B do not multiply out: 16 heads and 5120 do, and give the stated sizes.
    return _gpt2(n_layer, n_head, n_embd, block_size=2048)


def _modern(
    n_layer: int, n_head: int, n_kv_head: int, n_embd: int, block_size: int, vocab_size: int
) -> dict[str, Any]:
    return {
        "n_layer": n_layer,
        "n_head": n_head,
        "n_kv_head": n_kv_head,
        "n_embd": n_embd,
        "block_size": block_size,
        "vocab_size": vocab_size,
        "position": "rope",
        "norm": "rmsnorm",
        "norm_eps": 1e-6,
        "activation": "swiglu",
        "bias": False,
        "qk_norm": True,
        "tied_head": False,
        "init_residual": "zero",
        "init_head": "zero",
    }


PRESETS: dict[str, dict[str, Any]] = {
    "gpt2": _gpt2(12, 12, 768),
    "gpt2-medium": _gpt2(24, 16, 1024),
    "gpt2-large": _gpt2(36, 20, 1280),
    "gpt2-xl": _gpt2(48, 25, 1600),
    "gpt3-125m": _gpt3(12, 12, 768),
    "gpt3-350m": _gpt3(24, 16, 1024),
    "gpt3-760m": _gpt3(24, 16, 1536),
    "gpt3-1.3b": _gpt3(24, 16, 2048),
    "gpt3-2.7b": _gpt3(32, 32, 2560),
    "gpt3-6.7b": _gpt3(32, 32, 4096),
    "gpt3-13b": _gpt3(40, 40, 5120),
    "gpt3-175b": _gpt3(96, 96, 12288),
    "gpt-mini": _gpt2(6, 6, 192, block_size=256),
    "modern-1m": _modern(4, 4, 4, 128, 128, 512),
    "modern-10m": _modern(6, 6, 6, 384, 256, 1024),
    "modern-124m": _modern(12, 12, 4, 768, 1024, 50257),
    "modern-350m": _modern(24, 16, 4, 1024, 2048, 50257),
    "bigram": {
        "architecture": "bigram",
        "n_layer": 0,
        "n_head": 1,
        "n_embd": 1,
        "vocab_size": 65,
        "block_size": 256,
        "position": "none",
        "bias": False,
        "tied_head": True,
        "init_std": 1.0,
    },
    "encoder-mini": {
        "architecture": "encoder",
        "n_layer": 4,
        "n_head": 4,
        "n_embd": 256,
        "block_size": 512,
        "vocab_size": 30522,
        "activation": "gelu",
        "norm_eps": 1e-12,
    },
    "encoder-decoder-mini": {
        "architecture": "encoder-decoder",
        "n_layer": 4,
        "n_encoder_layer": 4,
        "n_head": 8,
        "n_embd": 384,
        "block_size": 512,
        "vocab_size": 32128,
        "position": "rope",
        "norm": "rmsnorm",
        "norm_eps": 1e-6,
        "activation": "gelu_tanh",
        "bias": False,
    },
}

# Former names, which configuration files may still hold.
RENAMED = {"bert-mini": "encoder-mini", "t5-mini": "encoder-decoder-mini"}
