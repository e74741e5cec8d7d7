"""`GPTConfig`: everything that decides a network's shape, checked at birth. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from gptpy.config.errors import ConfigError

ARCHITECTURES = ("decoder", "encoder", "encoder-decoder", "bigram")
POSITIONS = ("learned", "sinusoidal", "rope", "alibi", "none")
NORMS = ("layernorm", "rmsnorm")
ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "relu2", "silu", "swiglu", "geglu")
GATED_ACTIVATIONS = ("swiglu", "geglu")
RESIDUAL_INITS = ("scaled", "normal", "zero")
HEAD_INITS = ("normal", "zero")


@dataclass(frozen=True)
class GPTConfig:
    """Shape of a network. `None` means "derived": see the properties of the same theme.

    Raises `ConfigError` (a `ValueError`) at construction when settings do not fit together.
    """

    vocab_size: int = 50257
    block_size: int = 1024
    """Longest context, in tokens."""
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    n_kv_head: int | None = None
    """Key and value heads (grouped-query attention); None: as many as `n_head`."""
    head_dim: int | None = None
    """Width of a head; None: `n_embd / n_head`."""
    n_hidden: int | None = None
    """Width inside the MLP; None: 4 x `n_embd`, gated activations 8/3 rounded up to 64."""
    architecture: str = "decoder"
    """"decoder", "encoder" (no causal mask), "encoder-decoder" or "bigram" (one table)."""
    n_encoder_layer: int | None = None
    """Layers of the encoder in an encoder-decoder; None: as many as `n_layer`."""
    position: str = "learned"
    rope_theta: float = 10000.0
    norm: str = "layernorm"
    norm_eps: float = 1e-5
    norm_affine: bool = True
    """Whether norms carry learned weights (and, for LayerNorm with `bias`, biases)."""
    activation: str = "gelu_tanh"
    bias: bool = True
    """Biases in linear layers and LayerNorms."""
    qkv_bias: bool | None = None
    """Biases of the query, key and value projections; None: as `bias`."""
    qk_norm: bool = False
    """Normalise queries and keys per head before the positions are applied."""
    tied_head: bool = True
    """The output layer shares the token embedding's weights."""
    dropout: float = 0.0
    """On embeddings and on what a block adds to the residual stream."""
    attention_dropout: float | None = None
    """On attention weights; None: as `dropout`."""
    window: int | None = None
    """Sliding window: a token sees itself and the `window - 1` before it; None: all before it."""
    full_attention_every: int = 0
    """With `window`: every n-th layer sees everything (0: none does)."""
    attention_softcap: float | None = None
    """Attention scores s become c * tanh(s / c)."""
    logit_softcap: float | None = None
    """Output logits l become c * tanh(l / c)."""
    init_std: float = 0.02
    """Standard deviation of embeddings and linear weights at birth."""
    init_embedding_std: float | None = None
    """Standard deviation of the token embedding; None: as `init_std`."""
    scale_embedding: bool = False
    """Token embeddings times sqrt(n_embd), as beside sinusoids of amplitude 1 (Vaswani et al.)."""
    init_residual: str = "scaled"
    """Layers that write to the residual stream: "scaled" (std / sqrt(2 n_layer), as GPT-2),
    "normal" or "zero" (every block starts as the identity)."""
    init_head: str = "normal"
    """Untied output layer: "normal", or "zero" (the first loss is exactly log(vocab_size))."""
    activation_checkpointing: bool = False
    """Recompute the blocks' activations in the backward pass instead of keeping them."""

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
        """A copy with other settings; unknown names are errors."""
        _check_names(overrides)
        return replace(self, **overrides)

    def to_dict(self) -> dict[str, Any]:
        """Every setting that differs from "derived" (None), ready for TOML or JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> GPTConfig:
        """The inverse of `to_dict`; unknown names are errors."""
        _check_names(settings)
        return cls(**settings)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> GPTConfig:
        """The named shape, with settings replaced: `GPTConfig.preset("gpt2", dropout=0.1)`."""
        from gptpy.config.presets import PRESETS

        if name not in PRESETS:
            hint = get_close_matches(name, PRESETS, 1, 0.4)
            raise ConfigError(
                f"no preset {name!r}: expected one of {', '.join(PRESETS)}"
                + (f"; did you mean {hint[0]!r}?" if hint else "")
            )
        _check_names(overrides)
        return cls(**{**PRESETS[name], **overrides})


def _check_names(settings: dict[str, Any]) -> None:
    known = [field.name for field in fields(GPTConfig)]
    for name in settings:
        if name not in known:
            hint = get_close_matches(name, known, 1, 0.5)
            raise ConfigError(
                f"unknown model setting {name!r}"
                + (f": did you mean {hint[0]!r}?" if hint else f": expected one of {known}")
            )


def _check(c: GPTConfig) -> None:
    for name in ("vocab_size", "block_size", "n_head", "n_embd"):
        _integer(c, name, least=1)
    _integer(c, "n_layer", least=0 if c.architecture == "bigram" else 1)
    _integer(c, "full_attention_every", least=0)
    for name in ("n_kv_head", "head_dim", "n_hidden", "n_encoder_layer", "window"):
        if getattr(c, name) is not None:
            _integer(c, name, least=1)
    for name, known in (
        ("architecture", ARCHITECTURES),
        ("position", POSITIONS),
        ("norm", NORMS),
        ("activation", ACTIVATIONS),
        ("init_residual", RESIDUAL_INITS),
        ("init_head", HEAD_INITS),
    ):
        _one_of(c, name, known)
    switches = ("bias", "norm_affine", "qk_norm", "tied_head", "scale_embedding")
    for name in (*switches, "activation_checkpointing"):
        if not isinstance(getattr(c, name), bool):
            raise ConfigError(f"{name}: expected true or false, got {getattr(c, name)!r}")
    for name in ("rope_theta", "norm_eps", "init_std"):
        _number(c, name, above=0.0)
    for name in ("attention_softcap", "logit_softcap", "init_embedding_std"):
        if getattr(c, name) is not None:
            _number(c, name, above=0.0)
    for name in ("dropout", "attention_dropout"):
        value = getattr(c, name)
        if value is not None and not (_is_number(value) and 0.0 <= value < 1.0):
            raise ConfigError(f"{name}: expected a number in [0, 1), got {value!r}")
    if c.head_dim is None and c.n_embd % c.n_head:
        raise ConfigError(
            f"n_embd = {c.n_embd} is not a multiple of n_head = {c.n_head}: "
            f"take n_embd = {-(-c.n_embd // c.n_head) * c.n_head}, or give head_dim"
        )
    if c.n_head % c.kv_heads:
        divisors = [n for n in range(1, c.n_head + 1) if c.n_head % n == 0]
        raise ConfigError(
            f"n_kv_head = {c.kv_heads} does not divide n_head = {c.n_head}: take one of {divisors}"
        )
    if c.position == "rope" and c.head_size % 2:
        raise ConfigError(
            f"position = 'rope' rotates pairs, but a head is {c.head_size} wide: "
            "take an even head_dim"
        )
    if c.position == "sinusoidal" and c.n_embd % 2:
        raise ConfigError(f"position = 'sinusoidal' needs an even n_embd, got {c.n_embd}")
    if c.window is not None and c.architecture not in ("decoder",):
        raise ConfigError(
            f"window = {c.window} is causal, but architecture = {c.architecture!r}: "
            "leave window out, or take architecture = 'decoder'"
        )
    if c.full_attention_every and c.window is None:
        raise ConfigError("full_attention_every needs window: give both or neither")
    if c.tied_head and c.init_head == "zero":
        raise ConfigError(
            "init_head = 'zero' would zero the shared token embedding: set tied_head = false"
        )
    if c.n_encoder_layer is not None and c.architecture != "encoder-decoder":
        raise ConfigError(
            f"n_encoder_layer belongs to architecture = 'encoder-decoder', got {c.architecture!r}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _integer(c: GPTConfig, name: str, least: int) -> None:
    value = getattr(c, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name}: expected an integer >= {least}, got {value!r}")


def _number(c: GPTConfig, name: str, above: float) -> None:
    value = getattr(c, name)
    if not _is_number(value) or not value > above:
        raise ConfigError(f"{name}: expected a number > {above}, got {value!r}")


def _one_of(c: GPTConfig, name: str, known: tuple[str, ...]) -> None:
    value = getattr(c, name)
    if value not in known:
        hint = get_close_matches(str(value), known, 1, 0.5)
        raise ConfigError(
            f"{name}: expected one of {', '.join(known)}, got {value!r}"
            + (f"; did you mean {hint[0]!r}?" if hint else "")
        )
