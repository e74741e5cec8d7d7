"""The networks. `build_model(config)` picks the class that a configuration describes."""

from gptpy.model.cache import KVCache
from gptpy.model.fast import plain_formulas
from gptpy.model.flops import flops_per_token, utilisation
from gptpy.model.language_model import (
    GPT,
    Bigram,
    Encoder,
    EncoderDecoder,
    LanguageModel,
    build_model,
)
from gptpy.model.masking import mask_tokens
from gptpy.model.transformer import IGNORE, Block, SelfAttention, cross_entropy

__all__ = [
    "GPT",
    "IGNORE",
    "Bigram",
    "Block",
    "Encoder",
    "EncoderDecoder",
    "KVCache",
    "LanguageModel",
    "SelfAttention",
    "build_model",
    "cross_entropy",
    "flops_per_token",
    "mask_tokens",
    "plain_formulas",
    "utilisation",
]
