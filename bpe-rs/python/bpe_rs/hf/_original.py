"""What the packages `tokenizers` and `huggingface_hub` do for this one, if they are installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def trained(text: str, train: Callable[[Any], None]) -> tuple[str, list[Any]]:
    """The JSON of the model that `train` makes of the `tokenizers.Tokenizer` of a
    `tokenizer.json`, and the added tokens in the order of their ids."""
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            "training this object needs the package tokenizers, whose trainers it takes; "
            "bpe_rs.train needs no other package"
        ) from error
    original = tokenizers.Tokenizer.from_str(text)
    train(original)
    added = sorted(original.get_added_tokens_decoder().items())
    return original.model.__getstate__().decode(), [token for _, token in added]


def downloaded(identifier: str, revision: str, token: str | None) -> str:
    """The path of the `tokenizer.json` of a model on the Hugging Face Hub."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ImportError(
            "from_pretrained needs the package huggingface_hub; install it, or pass a file to "
            "from_file"
        ) from error
    return hf_hub_download(identifier, "tokenizer.json", revision=revision, token=token)
