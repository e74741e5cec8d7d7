"""Floating-point operations of a token, counted from the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from gptpy.config.model import GPTConfig

if TYPE_CHECKING:
    from gptpy.model.language_model import LanguageModel


def flops_per_token(
    model: LanguageModel, context: int | None = None, *, training: bool = True
) -> int:
    """Floating-point operations of matrix products for one token in a sequence of `context`.

    Two for each weight of a linear layer (embeddings are look-ups and count nothing, a tied head
    is a product and counts), and two products of attention over the keys that a token sees: half
    the context where it is causal, at most the window. Training is three times the forward pass.
    What activation checkpointing computes a second time is left out, so that utilisation from this
    figure is the model's (MFU), not the hardware's (HFU).
    """
    c = model.config
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    if c.architecture == "bigram":
        return 0
    if c.tied_head:
        weights += c.vocab_size * (c.n_token_embd or c.n_embd)
        weights += (c.n_token_embd or 0) * c.n_embd  # the projection, a second time
    forward = 2 * weights + _attention_flops(c, c.block_size if context is None else context)
    return forward * (3 if training else 1)


def _attention_flops(c: GPTConfig, context: int) -> int:
    width = c.n_head * c.head_size
    if c.architecture == "encoder":
        return c.n_layer * 4 * width * context
    total = 0
    for layer in range(c.n_layer):
        window = min(c.window_of_layer(layer) or context, context)
        # Token t sees min(t + 1, window) keys; summed over all tokens of the context.
        seen = window * (window + 1) // 2 + (context - window) * window
        total += 4 * width * seen // context
    if c.architecture == "encoder-decoder":
        total += (c.encoder_layers + c.n_layer) * 4 * width * context
    return total


def utilisation(tokens_per_second: float, flops_of_token: int, peak: float) -> float:
    """The share of a device's `peak` FLOP/s that training at this speed uses (MFU)."""
    return tokens_per_second * flops_of_token / peak
