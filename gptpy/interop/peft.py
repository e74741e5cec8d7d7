"""Export of LoRA adapters alone, as a folder that `peft` puts onto an exported base model."""

from __future__ import annotations

import re
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from gptpy.config.lora import LoraConfig
from gptpy.interop.errors import ExportError, writing
from gptpy.interop.families import BLOCKS, LAYERS, family, rows_of_parts
from gptpy.interop.huggingface import DTYPES, check_free, write_json
from gptpy.model import LanguageModel
from gptpy.model.lora import LoraLinear
from gptpy.storage import atomic

WRITTEN = ("adapter_config.json", "adapter_model.safetensors")
TABLES = {
    "gpt2": {"token_embedding": "transformer.wte", "head": "lm_head"},
    "llama": {"token_embedding": "model.embed_tokens", "head": "lm_head"},
}


def export_peft(
    model: LanguageModel, lora: LoraConfig | None, folder: str | Path, *, dtype: str | None = None
) -> Path:
    """Write the adapters of `model`, which was trained as `lora` says and is not merged.

    `PeftModel.from_pretrained(base, folder)` computes what the model does; `base` is an export of
    the run that the training began with. Raises `ExportError` for a model without adapters.
    """
    target = Path(folder).resolve()
    check_free(target, WRITTEN)
    adapted = {name: m for name, m in model.named_modules() if isinstance(m, LoraLinear)}
    if lora is None or not adapted:
        raise ExportError("this run has no adapters (--lora): export it with --format hf")
    kind = family(model.config)
    style = "gpt2" if kind == "gpt2" else "llama"
    weights: dict[str, Tensor] = {}
    targets: set[str] = set()
    for name, layer in adapted.items():
        number, ours = re.fullmatch(r"blocks\.(\d+)\.(.+)", name).groups()  # type: ignore[union-attr]
        names = LAYERS[style][ours]
        # Our stacked matrix is several of theirs, which share A; each has its rows of B
        rows = rows_of_parts(model.config, ours) if len(names) > 1 else [layer.out_features]
        for theirs, b in zip(names, layer.lora_b.split(rows), strict=True):
            prefix = f"base_model.model.{BLOCKS[style]}.{number}.{theirs}"
            weights[f"{prefix}.lora_A.weight"] = layer.lora_a
            weights[f"{prefix}.lora_B.weight"] = b
            targets.add(theirs)
    tables = TABLES[style] if lora.embeddings else {}
    for ours, theirs in tables.items():  # a tied head as a copy: peft does not tie what it saves
        own = model.head if ours == "head" and model.head is not None else model.token_embedding
        weights[f"base_model.model.{theirs}.weight"] = own.weight  # type: ignore[union-attr]
    number_type = model.dtype if dtype is None else DTYPES[dtype]
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": sorted(targets),
        "modules_to_save": [name.split(".")[-1] for name in tables.values()] or None,
        "fan_in_fan_out": style == "gpt2",
        "bias": "none",
        "inference_mode": True,
    }
    with writing(folder), atomic.folder(target) as temporary:
        plain = {k: t.detach().cpu().to(number_type).clone() for k, t in weights.items()}
        save_file(plain, str(temporary / WRITTEN[1]), metadata={"format": "pt"})
        write_json(temporary / WRITTEN[0], settings)
    return Path(folder)
