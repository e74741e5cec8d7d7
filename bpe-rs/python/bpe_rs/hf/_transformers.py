"""Taking over the tokenizers of `transformers`."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from bpe_rs.hf._tokenizer import Tokenizer

T = TypeVar("T")


def from_pretrained_fast(tokenizer: T) -> T:
    """The same tokenizer of `transformers`, running on ours.

    Class, special tokens, chat template and all other settings stay; the original is not touched.

    Raises TypeError for a tokenizer without a `tokenizers` back end ("slow" ones), ValueError
    that names the component for one that would not be reproduced exactly.

    >>> fast = from_pretrained_fast(AutoTokenizer.from_pretrained("gpt2"))  # doctest: +SKIP
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        raise TypeError(
            "expected a tokenizer of transformers with a `tokenizers` back end (is_fast), got "
            f"{type(tokenizer).__name__}"
        )
    ours = Tokenizer.from_str(backend.to_str())
    ours.encode_special_tokens = backend.encode_special_tokens
    # A deep copy that finds ours wherever the original's back end stood.
    return copy.deepcopy(tokenizer, {id(backend): ours})
