"""Which model uses which encoding."""

from __future__ import annotations

from bpe_rs._models import MODEL_PREFIX_TO_ENCODING as MODEL_PREFIX_TO_ENCODING
from bpe_rs._models import MODEL_TO_ENCODING as MODEL_TO_ENCODING
from bpe_rs._models import known_encoding_name
from bpe_rs.tiktoken.core import Encoding
from bpe_rs.tiktoken.registry import get_encoding


def encoding_name_for_model(model_name: str) -> str:
    """The name of the encoding that a model uses.

    Raises KeyError for a model that is neither known nor begins like a known one.

    >>> encoding_name_for_model("gpt-4o-2024-05-13")
    'o200k_base'
    """
    name = known_encoding_name(model_name)
    if name is not None:
        return name
    raise KeyError(
        f"Could not automatically map {model_name} to a tokeniser. "
        "Please use `tiktoken.get_encoding` to explicitly get the tokeniser you expect."
    )


def encoding_for_model(model_name: str) -> Encoding:
    """The encoding that a model uses; KeyError for a model that is not known.

    >>> encoding_for_model("gpt-4")
    <Encoding 'cl100k_base'>
    """
    return get_encoding(encoding_name_for_model(model_name))
