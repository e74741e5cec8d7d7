"""The networks. `build_model(config)` picks the class that a configuration describes."""

from gptpy.config.model import GPTConfig
from gptpy.model.base import LanguageModel
from gptpy.model.bigram import Bigram
from gptpy.model.cache import KVCache
from gptpy.model.encoder import Encoder, mask_tokens
from gptpy.model.encoder_decoder import EncoderDecoder
from gptpy.model.flops import flops_per_token, utilisation
from gptpy.model.gpt import GPT
from gptpy.model.loss import IGNORE, cross_entropy

MODELS: tuple[type[LanguageModel], ...] = (GPT, Encoder, EncoderDecoder, Bigram)


def build_model(config: GPTConfig) -> LanguageModel:
    """A network with fresh weights, of the class for `config.architecture`."""
    for model in MODELS:
        if config.architecture in model.architectures:
            return model(config)
    raise ValueError(f"no model for architecture {config.architecture!r}")


__all__ = [
    "GPT",
    "IGNORE",
    "Bigram",
    "Encoder",
    "EncoderDecoder",
    "KVCache",
    "LanguageModel",
    "build_model",
    "cross_entropy",
    "flops_per_token",
    "mask_tokens",
    "utilisation",
]
