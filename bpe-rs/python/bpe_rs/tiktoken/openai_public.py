"""The constructor arguments of the published encodings, from the tables inside the extension.

The counterpart of `tiktoken_ext.openai_public`: a starting point for one's own encodings.
"""

from __future__ import annotations

from typing import Any

from bpe_rs._encoding import get_encoding

ENDOFTEXT = "<|endoftext|>"
FIM_PREFIX = "<|fim_prefix|>"
FIM_MIDDLE = "<|fim_middle|>"
FIM_SUFFIX = "<|fim_suffix|>"
ENDOFPROMPT = "<|endofprompt|>"

r50k_pat_str = get_encoding("r50k_base").pat_str


def _arguments(name: str) -> dict[str, Any]:
    encoding = get_encoding(name)
    return {
        "name": name,
        "pat_str": encoding.pat_str,
        "mergeable_ranks": encoding.mergeable_ranks,
        "special_tokens": encoding.special_tokens,
    }


def gpt2() -> dict[str, Any]:
    """GPT-2: 50,256 tokens and the end of text."""
    return {**_arguments("gpt2"), "explicit_n_vocab": 50257}


def r50k_base() -> dict[str, Any]:
    """GPT-3: the same tokens as GPT-2.

    >>> r50k_base()["special_tokens"]
    {'<|endoftext|>': 50256}
    """
    return {**_arguments("r50k_base"), "explicit_n_vocab": 50257}


def p50k_base() -> dict[str, Any]:
    """Codex: GPT-2's tokens and runs of spaces."""
    return {**_arguments("p50k_base"), "explicit_n_vocab": 50281}


def p50k_edit() -> dict[str, Any]:
    """`p50k_base` with tokens for filling in the middle."""
    return _arguments("p50k_edit")


def cl100k_base() -> dict[str, Any]:
    """GPT-3.5 and GPT-4."""
    return _arguments("cl100k_base")


def o200k_base() -> dict[str, Any]:
    """GPT-4o and later."""
    return _arguments("o200k_base")


def o200k_harmony() -> dict[str, Any]:
    """gpt-oss: `o200k_base` with the tokens of its conversation format."""
    return _arguments("o200k_harmony")


ENCODING_CONSTRUCTORS = {
    "gpt2": gpt2,
    "r50k_base": r50k_base,
    "p50k_base": p50k_base,
    "p50k_edit": p50k_edit,
    "cl100k_base": cl100k_base,
    "o200k_base": o200k_base,
    "o200k_harmony": o200k_harmony,
}
