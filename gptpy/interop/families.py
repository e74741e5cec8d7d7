"""Which published architecture computes what a network of ours does, and how it names weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gptpy.config.model import Activation, GPTConfig
from gptpy.interop.errors import ExportError

Weights = Mapping[str, Tensor]
GPT2_ACTIVATIONS: dict[Activation, str] = {
    "gelu_tanh": "gelu_new",
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
}


def family(config: GPTConfig) -> str:
    """The architecture that computes exactly what this network does: "gpt2", "qwen3" or "llama".

    Raises `ExportError` naming the first setting that none of them has.
    """
    c = config
    _need(c.architecture == "decoder", f"architecture = {c.architecture!r}", "a decoder")
    _need(c.attention_softcap is None, "attention_softcap", "no soft cap")
    _need(c.logit_softcap is None, "logit_softcap", "no soft cap")
    _need(c.n_token_embd is None, "n_token_embd", "an embedding of n_embd columns")
    _need(not c.scale_embedding, "scale_embedding", "plain embeddings")
    if c.position == "learned":
        _need(c.norm == "layernorm", f"norm = {c.norm!r} with learned positions", "layernorm")
        _need(c.activation in GPT2_ACTIVATIONS, f"activation = {c.activation!r}", "gelu_tanh")
        _need(not c.qk_norm, "qk_norm with learned positions", "no qk_norm")
        _need(c.window is None, "window with learned positions", "no window")
        _need(c.kv_heads == c.n_head, "n_kv_head with learned positions", "n_kv_head = n_head")
        _need(c.head_size * c.n_head == c.n_embd, "head_dim", "n_head * head_dim = n_embd")
        return "gpt2"
    _need(c.position == "rope", f"position = {c.position!r}", "learned or rope")
    _need(c.norm == "rmsnorm", f"norm = {c.norm!r} with rope", "rmsnorm")
    _need(c.activation == "swiglu", f"activation = {c.activation!r} with rope", "swiglu")
    _need(not c.bias, "bias with rope", "bias = false")
    if c.qk_norm:
        return "qwen3"
    _need(c.window is None, "window without qk_norm", "qk_norm = true, or no window")
    return "llama"


def _need(fits: bool, has: str, wants: str) -> None:
    if not fits:
        raise ExportError(
            f"this model has {has}, which GPT-2, Llama and Qwen3 do not compute: "
            f"only models with {wants} can be exported; gptpy itself runs it as it is"
        )


def to_gpt2(config: GPTConfig, weights: Weights) -> dict[str, Tensor]:
    """Our weights under the names and in the orientation of `GPT2LMHeadModel`."""
    c = config
    out = {
        "transformer.wte.weight": weights["token_embedding.weight"],
        "transformer.wpe.weight": weights["position_embedding.weight"],
    }
    like = weights["token_embedding.weight"]

    def linear(theirs: str, ours: str) -> None:
        matrix = weights[f"{ours}.weight"]
        out[f"{theirs}.weight"] = matrix.T.contiguous()  # Conv1D: (in, out)
        out[f"{theirs}.bias"] = weights.get(f"{ours}.bias", like.new_zeros(matrix.shape[0]))

    def norm(theirs: str, ours: str) -> None:
        out[f"{theirs}.weight"] = weights.get(f"{ours}.weight", like.new_ones(c.n_embd))
        out[f"{theirs}.bias"] = weights.get(f"{ours}.bias", like.new_zeros(c.n_embd))

    for layer in range(c.n_layer):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        norm(f"{theirs}.ln_1", f"{ours}.attention_norm")
        linear(f"{theirs}.attn.c_attn", f"{ours}.attention.qkv")
        linear(f"{theirs}.attn.c_proj", f"{ours}.attention.out")
        norm(f"{theirs}.ln_2", f"{ours}.mlp_norm")
        linear(f"{theirs}.mlp.c_fc", f"{ours}.mlp.up")
        linear(f"{theirs}.mlp.c_proj", f"{ours}.mlp.down")
    norm("transformer.ln_f", "norm")
    if not c.tied_head:
        out["lm_head.weight"] = weights["head.weight"]
    return out


def from_gpt2(config: GPTConfig, weights: Weights) -> dict[str, Tensor]:
    """The inverse of `to_gpt2`, also for files without the prefix `transformer.`."""
    bare = {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}
    out = {
        "token_embedding.weight": _take(bare, "wte.weight"),
        "position_embedding.weight": _take(bare, "wpe.weight"),
    }

    def copy(ours: str, theirs: str, matrix: bool) -> None:
        weight = _take(bare, f"{theirs}.weight")
        out[f"{ours}.weight"] = weight.T.contiguous() if matrix else weight
        out[f"{ours}.bias"] = _take(bare, f"{theirs}.bias")

    for layer in range(config.n_layer):
        ours, theirs = f"blocks.{layer}", f"h.{layer}"
        copy(f"{ours}.attention_norm", f"{theirs}.ln_1", False)
        copy(f"{ours}.attention.qkv", f"{theirs}.attn.c_attn", True)
        copy(f"{ours}.attention.out", f"{theirs}.attn.c_proj", True)
        copy(f"{ours}.mlp_norm", f"{theirs}.ln_2", False)
        copy(f"{ours}.mlp.up", f"{theirs}.mlp.c_fc", True)
        copy(f"{ours}.mlp.down", f"{theirs}.mlp.c_proj", True)
    copy("norm", "ln_f", False)
    if not config.tied_head:
        out["head.weight"] = _take(bare, "lm_head.weight")
    return out


# Our name: their name in a layer. Several of theirs are stacked by rows into one of ours.
_LAYER = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.qkv.weight": ("self_attn.q_proj.weight", "self_attn.k_proj.weight",
                             "self_attn.v_proj.weight"),
    "attention.qkv.bias": ("self_attn.q_proj.bias", "self_attn.k_proj.bias",
                           "self_attn.v_proj.bias"),
    "attention.q_norm.weight": "self_attn.q_norm.weight",
    "attention.k_norm.weight": "self_attn.k_norm.weight",
    "attention.out.weight": "self_attn.o_proj.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    "mlp.up.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.down.weight": "mlp.down_proj.weight",
}  # fmt: skip
_OUTSIDE = {
    "token_embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}


def to_llama(config: GPTConfig, weights: Weights) -> dict[str, Tensor]:
    """Our weights under the names of `LlamaForCausalLM` and `Qwen3ForCausalLM`."""
    c = config
    like = weights["token_embedding.weight"]
    ones = {"norm": c.n_embd, "attention_norm": c.n_embd, "mlp_norm": c.n_embd}
    if c.qk_norm:
        ones |= {"attention.q_norm": c.head_size, "attention.k_norm": c.head_size}

    def get(name: str, kind: str) -> Tensor | None:
        # A norm without weights is one whose weights are ones
        default = like.new_ones(ones[kind]) if kind in ones else None
        return weights.get(name, default)

    out: dict[str, Tensor] = {}
    for ours, theirs in _OUTSIDE.items():
        tensor = get(ours, ours.removesuffix(".weight"))
        if tensor is not None:
            out[theirs] = tensor
    for layer in range(c.n_layer):
        for ours, theirs in _LAYER.items():
            tensor = get(f"blocks.{layer}.{ours}", ours.removesuffix(".weight"))
            if tensor is None:
                continue
            names = (theirs,) if isinstance(theirs, str) else theirs
            parts = tensor.split(rows_of_parts(c, ours), dim=0) if len(names) > 1 else (tensor,)
            for name, part in zip(names, parts, strict=True):
                out[f"model.layers.{layer}.{name}"] = part.contiguous()
        if c.has_qkv_bias:  # Llama's and Qwen3's one switch adds a bias after attention, too
            out[f"model.layers.{layer}.self_attn.o_proj.bias"] = like.new_zeros(c.n_embd)
    return out


def to_qwen2(config: GPTConfig, weights: Weights) -> dict[str, Tensor]:
    """As `to_llama`, for `Qwen2ForCausalLM`, whose output projection has no bias."""
    theirs = to_llama(config, weights)
    return {name: t for name, t in theirs.items() if not name.endswith(".o_proj.bias")}


def from_llama(config: GPTConfig, weights: Weights) -> dict[str, Tensor]:
    """The inverse of `to_llama`."""
    c = config
    skip = set() if c.has_qkv_bias else {"attention.qkv.bias"}
    if not c.qk_norm:
        skip |= {"attention.q_norm.weight", "attention.k_norm.weight"}
    out = {
        ours: _take(weights, theirs)
        for ours, theirs in _OUTSIDE.items()
        if not (ours == "head.weight" and c.tied_head)
    }
    for layer in range(c.n_layer):
        for ours, theirs in _LAYER.items():
            if ours in skip:
                continue
            names = (theirs,) if isinstance(theirs, str) else theirs
            parts = [_take(weights, f"model.layers.{layer}.{name}") for name in names]
            out[f"blocks.{layer}.{ours}"] = torch.cat(parts) if len(parts) > 1 else parts[0]
        bias = weights.get(f"model.layers.{layer}.self_attn.o_proj.bias")
        if bias is not None and bool(bias.any()):
            raise ExportError("this model has a bias after attention, which ours does not have")
    return out


def rows_of_parts(c: GPTConfig, name: str) -> list[int]:
    """The rows of the matrices that our layer `name` stacks: q, k, v, or gate and up."""
    kv = c.kv_heads * c.head_size
    return [c.hidden_size] * 2 if name.startswith("mlp.up") else [c.n_head * c.head_size, kv, kv]


def _take(weights: Weights, name: str) -> Tensor:
    if name not in weights:
        raise ExportError(f"the model's files have no weight named {name!r}: is it complete?")
    return weights[name]


BLOCKS = {"gpt2": "transformer.h", "llama": "model.layers"}
# Our linear layers in a block: theirs, without `.weight`
LAYERS: dict[str, dict[str, tuple[str, ...]]] = {
    "gpt2": {
        "attention.qkv": ("attn.c_attn",),
        "attention.out": ("attn.c_proj",),
        "mlp.up": ("mlp.c_fc",),
        "mlp.down": ("mlp.c_proj",),
    },
    "llama": {
        ours.removesuffix(".weight"): tuple(
            name.removesuffix(".weight")
            for name in ((theirs,) if isinstance(theirs, str) else theirs)
        )
        for ours, theirs in _LAYER.items()
    },
}
TO: dict[str, Callable[[GPTConfig, Weights], dict[str, Tensor]]] = {
    "gpt2": to_gpt2,
    "llama": to_llama,
    "qwen2": to_qwen2,
    "qwen3": to_llama,
}
FROM: dict[str, Callable[[GPTConfig, Weights], dict[str, Tensor]]] = {
    "gpt2": from_gpt2,
    "llama": from_llama,
    "qwen2": from_llama,
    "qwen3": from_llama,
}
