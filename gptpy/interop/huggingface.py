"""Export to folders that `transformers` loads, import from folders that it saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gptpy.config.model import Activation, GPTConfig
from gptpy.interop.errors import ExportError
from gptpy.interop.families import FROM, GPT2_ACTIVATIONS, TO, family
from gptpy.model import LanguageModel, build_model
from gptpy.storage import atomic

# All that an export writes: only a folder with nothing else in it may be replaced
WRITTEN = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
CLASSES = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def export_huggingface(
    model: LanguageModel,
    folder: str | Path,
    *,
    tokenizer_file: str | Path | None = None,
    end_of_text: tuple[str, int] | None = None,
    chat_template: str | None = None,
) -> Path:
    """Write `config.json`, `model.safetensors` and, from a `tokenizer.json`, the tokenizer.

    `AutoModelForCausalLM.from_pretrained(folder)` computes the same logits as the model.
    `transformers` need not be installed. `end_of_text`: its text and id. `chat_template`: Jinja, as
    `transformers` takes it. `folder` may hold an earlier export, which is replaced as a whole.
    Raises `ExportError`, before anything is written, when it holds anything else, or when no class
    of `transformers` computes what this model does.
    """
    target = Path(folder).resolve()
    _check_free(target)
    kind = family(model.config)
    settings = _settings(model.config, kind)
    if end_of_text is not None:
        settings |= {"bos_token_id": end_of_text[1], "eos_token_id": end_of_text[1]}
    weights = TO[kind](model.config, model.state_dict())
    plain = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
    settings["dtype"] = str(model.dtype).removeprefix("torch.")
    with atomic.folder(target) as temporary:
        save_file(plain, str(temporary / "model.safetensors"), metadata={"format": "pt"})
        _write_json(temporary / "config.json", settings)
        if tokenizer_file is not None:
            text = Path(tokenizer_file).read_text(encoding="utf-8")
            (temporary / "tokenizer.json").write_text(text, encoding="utf-8")
            about: dict[str, Any] = {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": model.config.block_size,
            }
            if end_of_text is not None:
                about |= {"bos_token": end_of_text[0], "eos_token": end_of_text[0]}
            if chat_template is not None:
                about["chat_template"] = chat_template
            _write_json(temporary / "tokenizer_config.json", about)
    return Path(folder)


def _check_free(folder: Path) -> None:
    """Raise `ExportError` where `folder` holds anything that no export has written."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ExportError(f"{folder}: is a file; an export for transformers is a folder")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in WRITTEN)
    if foreign:
        raise ExportError(
            f"{folder}: holds {', '.join(foreign[:3])}, which an export would replace: "
            "give a new or empty folder"
        )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _settings(c: GPTConfig, kind: str) -> dict[str, Any]:
    """The content of `config.json`."""
    settings: dict[str, Any] = {
        "model_type": kind,
        "architectures": [CLASSES[kind]],
        "vocab_size": c.vocab_size,
        "tie_word_embeddings": c.tied_head,
        "initializer_range": c.init_std,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if kind == "gpt2":
        return settings | {
            "n_positions": c.block_size,
            "n_embd": c.n_embd,
            "n_layer": c.n_layer,
            "n_head": c.n_head,
            "n_inner": c.hidden_size,
            "activation_function": GPT2_ACTIVATIONS[c.activation],
            "layer_norm_epsilon": c.norm_eps,
            "resid_pdrop": c.dropout,
            "embd_pdrop": c.dropout,
            "attn_pdrop": c.attention_dropout_rate,
        }
    settings |= {
        "hidden_size": c.n_embd,
        "intermediate_size": c.hidden_size,
        "num_hidden_layers": c.n_layer,
        "num_attention_heads": c.n_head,
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": c.block_size,
        "rms_norm_eps": c.norm_eps,
        # Both spellings: transformers 4 reads the first, 5 the second.
        "rope_theta": c.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta},
        "attention_bias": c.has_qkv_bias,
        "attention_dropout": c.attention_dropout_rate,
    }
    if c.window is not None:
        windows = [c.window_of_layer(layer) for layer in range(c.n_layer)]
        settings |= {
            "use_sliding_window": True,
            "sliding_window": c.window,
            "layer_types": [
                "full_attention" if w is None else "sliding_attention" for w in windows
            ],
        }
    return settings


def import_huggingface(folder: str | Path) -> LanguageModel:
    """The model in a folder of `transformers` (GPT-2, Llama, Qwen2, Qwen3), in fp32 on the CPU.

    Reads safetensors only, in one file or in shards. Raises `ExportError` naming what is missing,
    or a setting that our networks do not have.
    """
    folder = Path(folder)
    settings = _read_json(folder / "config.json")
    kind = settings.get("model_type")
    if kind not in FROM:
        raise ExportError(
            f"{folder}: expected a model of type {', '.join(FROM)}, got {kind!r} in config.json"
        )
    try:
        config = _config_of_gpt2(settings) if kind == "gpt2" else _config_of_llama(settings)
    except KeyError as error:
        raise ExportError(f"{folder / 'config.json'}: has no {error}") from None
    model = build_model(config)
    weights = FROM[kind](config, _read_weights(folder))
    own = model.state_dict()
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise ExportError(
                f"{folder}: {name} has shape {tuple(tensor.shape)}, its config.json says "
                f"{tuple(own[name].shape)}"
            )
    model.load_state_dict(weights)
    return model


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(f"{path}: no such file; expected a model's folder") from None
    except (OSError, ValueError) as error:
        raise ExportError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ExportError(f"{path}: expected an object, got {type(value).__name__}")
    return value


def _read_weights(folder: Path) -> dict[str, Tensor]:
    files = [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = _read_json(index).get("weight_map", {})
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
    return {name: tensor.float() for name, tensor in weights.items()}


def _config_of_gpt2(settings: dict[str, Any]) -> GPTConfig:
    activations: dict[str, Activation] = {theirs: ours for ours, theirs in GPT2_ACTIVATIONS.items()}
    activations["gelu_pytorch_tanh"] = "gelu_tanh"
    theirs = settings.get("activation_function", "gelu_new")
    if theirs not in activations:
        raise ExportError(f"activation_function: expected one of {[*activations]}, got {theirs!r}")
    for name in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"):
        if settings.get(name):
            raise ExportError(f"config.json sets {name}, which our attention does not have")
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
    if settings.get("hidden_act", "silu") != "silu":
        raise ExportError(f"hidden_act: expected 'silu', got {settings['hidden_act']!r}")
    if settings.get("mlp_bias"):
        raise ExportError("mlp_bias: our SwiGLU has no bias")
    window = settings.get("sliding_window") if settings.get("use_sliding_window") else None
    layers = settings.get("layer_types") or []
    every = 0
    if window is not None and "full_attention" in layers:
        every = layers.index("full_attention") + 1
        full = [(layer + 1) % every == 0 for layer in range(len(layers))]
        if [kind == "full_attention" for kind in layers] != full:
            raise ExportError("layer_types: expected full attention in every n-th layer")
    heads = settings["num_attention_heads"]
    return GPTConfig(
        vocab_size=settings["vocab_size"],
        block_size=settings["max_position_embeddings"],
        n_layer=settings["num_hidden_layers"],
        n_head=heads,
        n_kv_head=settings.get("num_key_value_heads", heads),
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
