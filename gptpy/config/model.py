"""`GPTConfig`: everything that decides a network's shape. Imports no torch."""

from __future__ import annotations

import dataclasses
from difflib import get_close_matches
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from gptpy.config.errors import ConfigError
from gptpy.config.files import to_mapping
from gptpy.config.presets import PRESETS, RENAMED
from gptpy.config.settings import (
    CHECKED,
    FractionBelowOne,
    NonNegativeInteger,
    PositiveInteger,
    PositiveNumber,
    Switch,
    raises_config_error,
)

Activation = Literal["gelu", "gelu_tanh", "relu", "relu2", "silu", "swiglu", "geglu"]
GATED_ACTIVATIONS = ("swiglu", "geglu")


@raises_config_error
@dataclass(config=CHECKED, frozen=True)
class GPTConfig:
    """The network's shape.

    Where a setting may be None it is derived from others: see the properties. Raises `ConfigError`
    (a `ValueError`) at construction when settings do not fit together.
    """

    vocab_size: PositiveInteger = 50257
    """Number of token ids."""
    block_size: PositiveInteger = 1024
    """Longest context, in tokens."""
    n_layer: NonNegativeInteger = 12
    """Blocks; of an encoder-decoder, those of the decoder."""
    n_head: PositiveInteger = 12
    """Query heads."""
    n_embd: PositiveInteger = 768
    """Width of the residual stream."""
    n_token_embd: PositiveInteger | None = None
    """Width of the token embedding, which a matrix projects to `n_embd` (default: `n_embd`)."""
    n_kv_head: PositiveInteger | None = None
    """Key and value heads, for grouped-query attention (default: as many as `n_head`)."""
    head_dim: PositiveInteger | None = None
    """Width of a head (default: `n_embd` / `n_head`)."""
    n_hidden: PositiveInteger | None = None
    """Width inside the MLP (default: 4 x `n_embd`; gated 8/3 x, rounded up to 64)."""
    architecture: Literal["decoder", "encoder", "encoder-decoder", "bigram"] = "decoder"
    """Kind of network."""
    n_encoder_layer: PositiveInteger | None = None
    """Blocks of the encoder in an encoder-decoder (default: `n_layer`)."""
    position: Literal["learned", "sinusoidal", "rope", "alibi", "none"] = "learned"
    """Positions of tokens."""
    rope_theta: PositiveNumber = 10000.0
    """Base of the rotation's wavelengths."""
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    """Normalisation."""
    norm_eps: PositiveNumber = 1e-5
    """Added to the variance."""
    norm_affine: Switch = True
    """Norms have learned weights; LayerNorm with `bias` also biases."""
    activation: Activation = "gelu_tanh"
    """Inside the MLP; swiglu and geglu are gated."""
    bias: Switch = True
    """Biases in linear layers and LayerNorms."""
    qkv_bias: Switch | None = None
    """Biases of the query, key and value projections (default: as `bias`)."""
    # Before positions are applied.
    qk_norm: Switch = False
    """Normalise the queries and keys of each head."""
    tied_head: Switch = True
    """The output layer shares the token embedding's weights."""
    dropout: FractionBelowOne = 0.0
    """On embeddings and on what a block adds to the residual stream."""
    attention_dropout: FractionBelowOne | None = None
    """On attention weights (default: as `dropout`)."""
    window: PositiveInteger | None = None
    """Sliding window: tokens that each one sees, with itself (default: all before it)."""
    full_attention_every: NonNegativeInteger = 0
    """With `window`: every n-th layer sees everything; 0: none does."""
    attention_softcap: PositiveNumber | None = None
    """Attention scores s become c tanh(s / c) (default: they stay)."""
    logit_softcap: PositiveNumber | None = None
    """Output logits l become c tanh(l / c) (default: they stay)."""
    init_std: PositiveNumber = 0.02
    """Initial standard deviation of embeddings and linear weights."""
    init_embedding_std: PositiveNumber | None = None
    """Initial standard deviation of the token embedding (default: `init_std`)."""
    # Vaswani et al. 2017, whose sinusoids have amplitude 1.
    scale_embedding: Switch = False
    """Multiply token embeddings by sqrt(`n_embd`)."""
    # Of the layers that write to the residual stream. "scaled": standard deviation
    # init_std / sqrt(2 n_layer), as GPT-2; "zero": every block begins as the identity.
    init_residual: Literal["scaled", "normal", "zero"] = "scaled"
    """Initial weights of the blocks' outputs."""
    # "zero": the first loss is exactly log(vocab_size).
    init_head: Literal["normal", "zero"] = "normal"
    """Initial weights of an untied output layer."""
    activation_checkpointing: Switch = False
    """Recompute activations in the backward pass, to save memory."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def kv_heads(self) -> int:
        """Number of key/value heads."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def head_size(self) -> int:
        """Width of a head."""
        return self.n_embd // self.n_head if self.head_dim is None else self.head_dim

    @property
    def hidden_size(self) -> int:
        """Width inside the MLP."""
        if self.n_hidden is not None:
            return self.n_hidden
        if self.gated:
            return -(-(8 * self.n_embd // 3) // 64) * 64
        return 4 * self.n_embd

    @property
    def gated(self) -> bool:
        """Whether the MLP multiplies two projections (SwiGLU, GEGLU)."""
        return self.activation in GATED_ACTIVATIONS

    @property
    def has_qkv_bias(self) -> bool:
        """Whether the query, key and value projections carry a bias."""
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def encoder_layers(self) -> int:
        """Layers of the encoder stack of an encoder-decoder."""
        return self.n_layer if self.n_encoder_layer is None else self.n_encoder_layer

    @property
    def attention_dropout_rate(self) -> float:
        """Dropout on attention weights."""
        return self.dropout if self.attention_dropout is None else self.attention_dropout

    def window_of_layer(self, layer: int) -> int | None:
        """Sliding window of layer `layer` (from 0), or None where it sees everything."""
        every = self.full_attention_every
        return None if every and (layer + 1) % every == 0 else self.window

    def replace(self, **overrides: Any) -> GPTConfig:
        """A copy with other settings."""
        return dataclasses.replace(self, **overrides)

    def to_dict(self) -> dict[str, Any]:
        """Every setting that is not None, ready for TOML or JSON."""
        return to_mapping(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> GPTConfig:
        """The inverse of `to_dict`."""
        return cls(**settings)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> GPTConfig:
        """The named shape, with settings replaced: `GPTConfig.preset("gpt2", dropout=0.1)`."""
        name = RENAMED.get(name, name)
        if name not in PRESETS:
            hint = get_close_matches(name, PRESETS, 1, 0.4)
            raise ConfigError(
                f"no preset {name!r}: expected one of {', '.join(PRESETS)}"
                + (f"; did you mean {hint[0]!r}?" if hint else "")
            )
        return cls(**{**PRESETS[name], **overrides})


def _check(c: GPTConfig) -> None:
    """Raise `ValueError` where settings that are fine alone do not fit together."""
    if c.n_token_embd is not None and c.architecture == "bigram":
        raise ValueError("n_token_embd: a bigram's table has vocab_size columns, leave it out")
    if c.n_layer == 0 and c.architecture != "bigram":
        raise ValueError("n_layer = 0 belongs to architecture = 'bigram': take n_layer >= 1")
    if c.head_dim is None and c.n_embd % c.n_head:
        raise ValueError(
            f"n_embd = {c.n_embd} is not a multiple of n_head = {c.n_head}: "
            f"take n_embd = {-(-c.n_embd // c.n_head) * c.n_head}, or give head_dim"
        )
    if c.n_head % c.kv_heads:
        divisors = [n for n in range(1, min(c.n_head, 1024) + 1) if c.n_head % n == 0]
        raise ValueError(
            f"n_kv_head = {c.kv_heads} does not divide n_head = {c.n_head}: take one of {divisors}"
        )
    if c.position == "rope" and c.head_size % 2:
        raise ValueError(
            f"position = 'rope' rotates pairs, but a head is {c.head_size} wide: "
            "take an even head_dim"
        )
    if c.position == "sinusoidal" and c.n_embd % 2:
        raise ValueError(f"position = 'sinusoidal' needs an even n_embd, got {c.n_embd}")
    if c.window is not None and c.architecture != "decoder":
        raise ValueError(
            f"window = {c.window} is causal, but architecture = {c.architecture!r}: "
            "leave window out, or take architecture = 'decoder'"
        )
    if c.full_attention_every and c.window is None:
        raise ValueError("full_attention_every needs window: give both or neither")
    if c.tied_head and c.init_head == "zero":
        raise ValueError(
            "init_head = 'zero' would zero the shared token embedding: set tied_head = false"
        )
    if c.n_encoder_layer is not None and c.architecture != "encoder-decoder":
        raise ValueError(
            f"n_encoder_layer belongs to architecture = 'encoder-decoder', got {c.architecture!r}"
        )
