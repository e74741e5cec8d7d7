"""Floating-point operations of a token, counted from the configuration."""

from __future__ import annotations

from collections.abc import Iterator
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
    the context where it is causal, at most the window. The backward pass has as many again for the
    gradients of inputs, and of weights, but of frozen weights and of inputs before the first
    trained weight there are none. What activation checkpointing computes a second time is left out,
    so that utilisation from this figure is the model's (MFU), not the hardware's (HFU).
    """
    c = model.config
    if c.architecture == "bigram":
        return 0
    forward = backward = 0
    trained = False  # whether a weight before this one is
    for weight, is_product in _in_order(model):
        if is_product:
            forward += 2 * weight.numel()
            backward += 2 * weight.numel() * (trained + weight.requires_grad)
        trained = trained or weight.requires_grad
    attention = _attention_flops(c, c.block_size if context is None else context)
    forward, backward = forward + attention, backward + 2 * attention * trained
    return forward + backward if training else forward


def _in_order(model: LanguageModel) -> Iterator[tuple[nn.Parameter, bool]]:
    """Every parameter as the forward pass meets it, and whether it is a factor of a product."""
    for module in model.modules():
        is_linear = isinstance(module, nn.Linear)
        for name, parameter in module.named_parameters(recurse=False):
            yield parameter, is_linear and name != "bias"
    if model.config.tied_head:
        yield model.get_parameter("token_embedding.weight"), True
        if model.config.n_token_embd:
            yield model.get_parameter("token_projection.weight"), True  # a second time


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
