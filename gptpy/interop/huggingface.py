"""Export to folders that `transformers` loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gptpy.config.model import GPTConfig
from gptpy.interop.errors import ExportError, object_of, writing
from gptpy.interop.families import GPT2_ACTIVATIONS, TO, family
from gptpy.interop.importing import read_config
from gptpy.model import LanguageModel
from gptpy.storage import atomic
from gptpy.tokenizer.published import MODEL_FILES, TOKENIZER_FILES

# All that an export writes: only a folder with nothing else in it may be replaced
WRITTEN = ("model.safetensors", *MODEL_FILES, *TOKENIZER_FILES)
CLASSES = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def export_huggingface(
    model: LanguageModel,
    folder: str | Path,
    *,
    tokenizer_file: str | Path | None = None,
    end_of_text: tuple[str, int] | None = None,
    chat_template: str | None = None,
    dtype: str | None = None,
    published: str | Path | None = None,
) -> Path:
    """Write `config.json`, `model.safetensors` and, from a `tokenizer.json`, the tokenizer.

    `AutoModelForCausalLM.from_pretrained(folder)` computes the same logits as the model.
    `transformers` need not be installed. `end_of_text`: its text and id. `chat_template`: Jinja, as
    `transformers` takes it. `dtype`: "f32", "bf16" or "f16" (default: of `published`, else the
    model's). `published`: the folder that the model was imported from; where it describes this
    model, its files are written as they are. `folder` may hold an earlier export, which is replaced
    as a whole. Raises `ExportError`, before anything is written, when it holds anything else, or
    when no class of `transformers` computes what this model does.
    """
    target = Path(folder).resolve()
    check_free(target, WRITTEN)
    source = Path(published) if published and _describes(Path(published), model.config) else None
    kind = (
        family(model.config) if source is None else object_of(source / "config.json")["model_type"]
    )
    if dtype is not None and dtype not in DTYPES:
        raise ExportError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    weights = TO[kind](model.config, model.state_dict())
    with writing(folder), atomic.folder(target) as temporary:
        if source is not None:
            number_type = _copy_files(source, temporary, dtype, tokenizer_file is not None)
            if dtype is None and not _exact(weights.values(), number_type):
                number_type = model.dtype
        else:
            number_type = model.dtype if dtype is None else DTYPES[dtype]
            settings = _settings(model.config, kind)
            settings["dtype"] = str(number_type).removeprefix("torch.")
            if end_of_text is not None:
                settings |= {"bos_token_id": end_of_text[1], "eos_token_id": end_of_text[1]}
            write_json(temporary / "config.json", settings)
            if tokenizer_file is not None:
                _write_tokenizer(
                    temporary, Path(tokenizer_file), model.config, end_of_text, chat_template
                )
        plain = {name: t.detach().cpu().to(number_type).clone() for name, t in weights.items()}
        save_file(plain, str(temporary / "model.safetensors"), metadata={"format": "pt"})
    return Path(folder)


def _describes(published: Path, config: GPTConfig) -> bool:
    return (published / "config.json").is_file() and read_config(published) == config


def _exact(weights: Iterable[Tensor], dtype: torch.dtype) -> bool:
    """Whether numbers of type `dtype` are enough for all weights."""
    return all(torch.equal(weight.to(dtype).to(weight.dtype), weight) for weight in weights)


def _copy_files(source: Path, folder: Path, dtype: str | None, tokenizer: bool) -> torch.dtype:
    """Copy what is known of a published model; returns the number type of the weights.

    Only an asked `dtype` changes `config.json`.
    """
    for name in (*MODEL_FILES, *(TOKENIZER_FILES if tokenizer else ())):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    settings = object_of(source / "config.json")
    key = "torch_dtype" if "torch_dtype" in settings else "dtype"
    if dtype is not None:
        wanted = str(DTYPES[dtype]).removeprefix("torch.")
        if settings.get(key) != wanted:
            write_json(folder / "config.json", {**settings, key: wanted})
        return DTYPES[dtype]
    return getattr(torch, str(settings.get(key)), torch.float32)


def _write_tokenizer(
    folder: Path,
    file: Path,
    config: GPTConfig,
    end_of_text: tuple[str, int] | None,
    chat_template: str | None,
) -> None:
    about = json.loads(file.read_text(encoding="utf-8"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.block_size,
    }
    if end_of_text is not None:
        text, token = end_of_text
        settings |= {"bos_token": text, "eos_token": text}
        if all(added["content"] != text for added in about["added_tokens"]):
            # The run has added it behind the vocabulary of its tokenizer
            plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            about["added_tokens"].append({"id": token, "content": text, **plain, "special": True})
    if chat_template is not None:
        settings["chat_template"] = chat_template
    (folder / "tokenizer.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", settings)


def check_free(folder: Path, written: Collection[str]) -> None:
    """Raise `ExportError` where `folder` holds anything but the files `written` by an export."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ExportError(f"{folder}: is a file; an export for transformers is a folder")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in written)
    if foreign:
        raise ExportError(
            f"{folder}: holds {', '.join(foreign[:3])}, which an export would replace: "
            "give a new or empty folder"
        )


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
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
