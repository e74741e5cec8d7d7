"""Import from folders that `transformers` saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gptpy.config.model import Activation, GPTConfig
from gptpy.interop.errors import ExportError, object_of
from gptpy.interop.families import FROM, GPT2_ACTIVATIONS, TO
from gptpy.model import LanguageModel, build_model

# What compilers and wrappers of modules write into the names of weights
WRAPPERS = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# How the weights of token embeddings are called: BERT, GPT-2, Llama and others, T5
TABLES = ("word_embeddings.weight", "wte.weight", "embed_tokens.weight", "shared.weight")
NUMBER_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def import_huggingface(folder: str | Path) -> LanguageModel:
    """The model in a folder of `transformers` (GPT-2, Llama, Qwen2, Qwen3), in fp32 on the CPU.

    Reads safetensors only, in one file or in shards. Raises `ExportError` naming what is missing,
    weights that the configuration does not describe, weights that are not finite, or a setting that
    our networks do not have.
    """
    folder = Path(folder)
    config = read_config(folder)
    kind = object_of(folder / "config.json")["model_type"]
    weights = _plain_names(kind, read_weights(folder))
    _check_weights(folder, kind, config, weights)
    model = build_model(config)
    weights = {name: tensor.float() for name, tensor in weights.items()}
    model.load_state_dict(FROM[kind](config, weights))
    return model


def token_embedding(folder: Path) -> Tensor:
    """The token embedding `(V, C)`, fp32, of a model of any kind in a folder of `transformers`."""
    found = {name: tensor for name, tensor in read_weights(folder).items() if name.endswith(TABLES)}
    if len(found) != 1:
        raise ExportError(
            f"{folder}: expected one token embedding, found "
            f"{', '.join(found) or 'none by a known name'} ({', '.join(TABLES)})"
        )
    return next(iter(found.values())).float()


def read_config(folder: Path) -> GPTConfig:
    """Our configuration of the model that the folder's `config.json` describes; `ExportError`."""
    path = folder / "config.json"
    if not path.is_file():
        raise ExportError(f"{path}: no such file; expected a model's folder")
    settings = object_of(path)
    kind = settings.get("model_type")
    if kind not in FROM:
        raise ExportError(
            f"{folder}: expected a model of type {', '.join(FROM)}, got {kind!r} in config.json"
        )
    if settings.get("quantization_config"):
        raise ExportError(f"{path}: quantised weights are not read; take the unquantised model")
    try:
        return _config_of_gpt2(settings) if kind == "gpt2" else _config_of_llama(settings)
    except KeyError as error:
        raise ExportError(f"{path}: has no {error}") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the folder's safetensors by name; `ExportError` where a file is missing."""
    files = [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = object_of(index).get("weight_map", {})
        files = [folder / name for name in sorted(set(shards.values()))]
    weights: dict[str, Tensor] = {}
    for path in files:
        if not path.is_file():
            pickled = (folder / "pytorch_model.bin").is_file()
            raise ExportError(
                f"{path}: no such file"
                + ("; pytorch_model.bin is a pickle and is not read" if pickled else "")
                + ": save the model with safetensors (save_pretrained does)"
            )
        try:
            weights.update(load_file(str(path)))
        except (OSError, SafetensorError) as error:
            raise ExportError(f"{path}: cannot be read: {error}") from None
    return weights


def _plain_names(kind: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without names of wrappers, and without what no computation needs."""
    plain = {}
    for name, tensor in weights.items():
        bare = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if kind == "gpt2":  # files of the bare model have no prefix
            bare = bare.removeprefix("transformer.")
        if bare in plain:
            raise ExportError(f"two weights are named {bare!r} without the names of wrappers")
        plain[bare] = tensor
    # Tables that older versions saved: the causal mask of GPT-2, the frequencies of rotations
    masks = (".attn.bias", ".attn.masked_bias") if kind == "gpt2" else (".rotary_emb.inv_freq",)
    return {name: tensor for name, tensor in plain.items() if not name.endswith(masks)}


def _check_weights(
    folder: Path, kind: str, config: GPTConfig, weights: Mapping[str, Tensor]
) -> None:
    """Raise `ExportError` unless names and shapes fit `config` and all numbers are finite."""
    with torch.device("meta"):
        theirs = TO[kind](config, build_model(config).state_dict())
    wanted = {name.removeprefix("transformer."): tensor for name, tensor in theirs.items()}
    table = "wte.weight" if kind == "gpt2" else "model.embed_tokens.weight"
    optional = {name for name in wanted if name.endswith(".o_proj.bias")}
    missing = [name for name in wanted if name not in weights and name not in optional]
    if missing:
        raise ExportError(
            f"{folder}: its files have no weight named {missing[0]!r}"
            + (f" and lack {len(missing) - 1} more" if missing[1:] else "")
            + ": is it complete?"
        )
    unused = sorted(weights.keys() - wanted.keys())
    if config.tied_head and unused == ["lm_head.weight"]:
        # A copy of the embedding; one that differs was trained by itself and would be lost
        unused = [] if torch.equal(weights["lm_head.weight"], weights[table]) else unused
    if unused:
        names = ", ".join(unused[:3]) + (", ..." if unused[3:] else "")
        raise ExportError(
            f"{folder}: its files hold {len(unused)} weights that config.json does not describe: "
            f"{names}; is it another model's?"
        )
    for name in wanted.keys() & weights.keys():
        tensor = weights[name]
        if tensor.dtype not in NUMBER_TYPES:
            raise ExportError(
                f"{folder}: {name} holds numbers of type {str(tensor.dtype)[6:]}, expected "
                "float32, bfloat16 or float16: take the unquantised model"
            )
        if tensor.shape != wanted[name].shape:
            raise ExportError(
                f"{folder}: {name} has shape {tuple(tensor.shape)}, its config.json says "
                f"{tuple(wanted[name].shape)}"
            )
        if not bool(tensor.isfinite().all()):
            raise ExportError(
                f"{folder}: {name} holds NaN or infinite numbers: its training diverged, or the "
                "file is damaged"
            )


def _config_of_gpt2(settings: dict[str, Any]) -> GPTConfig:
    activations: dict[str, Activation] = {theirs: ours for ours, theirs in GPT2_ACTIVATIONS.items()}
    activations["gelu_pytorch_tanh"] = "gelu_tanh"
    theirs = settings.get("activation_function", "gelu_new")
    if theirs not in activations:
        raise ExportError(f"activation_function: expected one of {[*activations]}, got {theirs!r}")
    for name in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"):
        if settings.get(name):
            raise ExportError(f"config.json sets {name}, which our attention does not have")
    if not settings.get("scale_attn_weights", True):
        raise ExportError("config.json unsets scale_attn_weights, which our attention always does")
    return GPTConfig(
        vocab_size=settings["vocab_size"],
        block_size=settings["n_positions"],
        n_layer=settings["n_layer"],
        n_head=settings["n_head"],
        n_embd=settings["n_embd"],
        n_hidden=settings.get("n_inner"),
        activation=activations[theirs],
        norm_eps=settings.get("layer_norm_epsilon", 1e-5),
        tied_head=settings.get("tie_word_embeddings", True),
        dropout=settings.get("resid_pdrop", 0.0),
        attention_dropout=settings.get("attn_pdrop"),
    )


def _config_of_llama(settings: dict[str, Any]) -> GPTConfig:
    kind = settings["model_type"]
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type != "default":
        raise ExportError(f"rope of type {rope_type!r}: expected 'default', unscaled")
    if rope.get("partial_rotary_factor", settings.get("partial_rotary_factor", 1.0)) != 1.0:
        raise ExportError("partial_rotary_factor: our rotations take all columns of a head")
    if settings.get("hidden_act", "silu") != "silu":
        raise ExportError(f"hidden_act: expected 'silu', got {settings['hidden_act']!r}")
    if settings.get("mlp_bias"):
        raise ExportError("mlp_bias: our SwiGLU has no bias")
    heads = settings["num_attention_heads"]
    window, every = _windows(settings)
    return GPTConfig(
        vocab_size=settings["vocab_size"],
        block_size=settings["max_position_embeddings"],
        n_layer=settings["num_hidden_layers"],
        n_head=heads,
        n_kv_head=settings.get("num_key_value_heads") or heads,
        n_embd=settings["hidden_size"],
        head_dim=settings.get("head_dim") or settings["hidden_size"] // heads,
        n_hidden=settings["intermediate_size"],
        position="rope",
        rope_theta=float(rope.get("rope_theta", settings.get("rope_theta", 10000.0))),
        norm="rmsnorm",
        norm_eps=settings.get("rms_norm_eps", 1e-6),
        activation="swiglu",
        bias=False,
        qkv_bias=kind == "qwen2" or bool(settings.get("attention_bias", False)),
        qk_norm=kind == "qwen3",
        tied_head=settings.get("tie_word_embeddings", False),
        attention_dropout=settings.get("attention_dropout", 0.0),
        window=window,
        full_attention_every=every,
    )


def _windows(settings: dict[str, Any]) -> tuple[int | None, int]:
    """The sliding window and `full_attention_every`, from the kinds of the layers."""
    window = settings.get("sliding_window") if settings.get("use_sliding_window") else None
    count = settings["num_hidden_layers"]
    first = settings.get("max_window_layers", 28)  # earlier layers see everything
    kinds = settings.get("layer_types") or [
        "sliding_attention" if layer >= first else "full_attention" for layer in range(count)
    ]
    if window is None or "sliding_attention" not in kinds:
        return None, 0
    if "full_attention" not in kinds:
        return window, 0
    every = kinds.index("full_attention") + 1
    full = [(layer + 1) % every == 0 for layer in range(len(kinds))]
    if [kind == "full_attention" for kind in kinds] != full:
        raise ExportError("layer_types: expected full attention in every n-th layer")
    return window, every
