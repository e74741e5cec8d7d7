"""What the package `huggingface_hub` does for this one, if it is installed."""

from __future__ import annotations


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
