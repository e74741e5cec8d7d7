"""Export to GGUF, the format of llama.cpp, through the package `gguf`."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptpy.config.model import GPTConfig
from gptpy.interop.errors import ExportError, file_target, writing
from gptpy.interop.families import TO, family
from gptpy.interop.llama_cpp import pre_tokenizer
from gptpy.model import LanguageModel
from gptpy.model.sampling import end_ids
from gptpy.storage import atomic
from gptpy.tokenizer import END_OF_TEXT

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def export_gguf(
    model: LanguageModel,
    path: str | Path,
    *,
    tokenizer_file: str | Path | None = None,
    end_of_text: int | Collection[int] | None = None,
    beginning: int | None = None,
    chat_template: str | None = None,
    dtype: str = "f32",
) -> Path:
    """Write the model, and the tokenizer of a byte-level BPE `tokenizer.json`, to one file.

    `end_of_text`: the ids that end a text, at most three. `beginning`: the id before every text, if
    the model was trained with one. `dtype`: "f32", "bf16" or "f16" for the matrices; vectors stay
    fp32. Needs the extra `gguf`. Raises `ExportError` when GGUF has no architecture that computes
    what this model does, and when llama.cpp does not know the tokenizer's pattern.
    """
    path = file_target(path)
    try:
        import gguf
    except ImportError:
        raise ExportError("GGUF needs the package gguf: pip install 'gptpy-lm[gguf]'") from None
    if dtype not in TYPES:
        raise ExportError(f"dtype: expected one of {', '.join(TYPES)}, got {dtype!r}")
    c, kind = model.config, family(model.config)
    if c.window is not None:
        raise ExportError("GGUF's qwen3 has no sliding window: only models without can be written")
    with writing(path), atomic.named(path) as temporary:
        writer = gguf.GGUFWriter(temporary, kind)
        ends = end_ids(end_of_text)
        writer.add_name(path.stem)
        _add_shape(writer, c, kind)
        if tokenizer_file is not None:
            _add_tokenizer(gguf, writer, Path(tokenizer_file), c, ends, beginning)
            if chat_template is not None:
                writer.add_chat_template(chat_template)
        for name, tensor in _tensors(gguf, model, kind).items():
            plain = tensor.detach().cpu().float().contiguous().numpy()
            kind_of_number = gguf.GGMLQuantizationType["F32" if tensor.dim() < 2 else dtype.upper()]
            writer.add_tensor(name, gguf.quantize(plain, kind_of_number), raw_dtype=kind_of_number)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return path


def _add_shape(writer: Any, c: GPTConfig, kind: str) -> None:
    writer.add_context_length(c.block_size)
    writer.add_embedding_length(c.n_embd)
    writer.add_block_count(c.n_layer)
    writer.add_feed_forward_length(c.hidden_size)
    writer.add_head_count(c.n_head)
    writer.add_vocab_size(c.vocab_size)
    if kind == "gpt2":
        writer.add_layer_norm_eps(c.norm_eps)
        return
    writer.add_head_count_kv(c.kv_heads)
    writer.add_key_length(c.head_size)
    writer.add_value_length(c.head_size)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    writer.add_rope_dimension_count(c.head_size)
    writer.add_rope_freq_base(c.rope_theta)


def _tensors(gguf: Any, model: LanguageModel, kind: str) -> dict[str, Tensor]:
    """The weights under GGUF's names, which `gguf` derives from those of `transformers`."""
    c = model.config
    arch = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[kind]
    names = gguf.get_tensor_name_map(arch, c.n_layer)
    out = {}
    for theirs, tensor in TO[kind](c, model.state_dict()).items():
        if kind == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", theirs):
            tensor = tensor.T  # GGUF keeps (out, in), unlike Conv1D
        if kind == "llama" and re.search(r"\.(q_proj|k_proj)\.", theirs):
            tensor = _neighbouring_pairs(tensor, c.head_size)
        name = names.get_name(theirs, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ExportError(f"GGUF's {kind} has no place for {theirs}")
        out[name] = tensor
    return out


def _neighbouring_pairs(rows: Tensor, head_dim: int) -> Tensor:
    """Reorder rows: llama.cpp's Llama rotates columns 2i and 2i + 1, ours i and i + D / 2."""
    heads = rows.view(-1, 2, head_dim // 2, *rows.shape[1:])
    return heads.transpose(1, 2).reshape(rows.shape)


def _add_tokenizer(
    gguf: Any, writer: Any, path: Path, c: GPTConfig, ends: list[int], beginning: int | None
) -> None:
    about = json.loads(path.read_text(encoding="utf-8"))
    model = about.get("model", {})
    if "merges" not in model:
        raise ExportError(f"{path}: expected a byte-level BPE tokenizer.json for GGUF")
    special = {token["id"]: token["content"] for token in about.get("added_tokens", [])}
    for end in ends:  # may be one that the run has added behind the tokenizer's vocabulary
        if end >= len(model["vocab"]):
            special.setdefault(end, END_OF_TEXT)
    by_id = {index: text for text, index in model["vocab"].items()} | special
    # The model may have more ids than the tokenizer
    texts = [by_id.get(index, f"[unused{index}]") for index in range(c.vocab_size)]
    kinds = gguf.TokenType
    types = [
        kinds.CONTROL if index in special else kinds.NORMAL if index in by_id else kinds.UNUSED
        for index in range(c.vocab_size)
    ]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(about))
    writer.add_token_list(texts)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    # Without this llama.cpp decides by the pattern's name: "llama-bpe" would get a beginning
    writer.add_add_bos_token(beginning is not None)
    writer.add_add_eos_token(False)
    bos = beginning if beginning is not None else next(iter(ends), None)
    if bos is not None:
        writer.add_bos_token_id(bos)
    adders = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for add, end in zip(adders, ends, strict=False):
        add(end)
