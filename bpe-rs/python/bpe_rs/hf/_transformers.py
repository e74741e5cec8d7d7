"""Tokenizers of `transformers` on our engine."""

from __future__ import annotations

import copy
from functools import partial
from types import FunctionType
from typing import Any, TypeVar

from bpe_rs.hf._tokenizer import Tokenizer

T = TypeVar("T")


def from_pretrained_fast(tokenizer: T) -> T:
    """A copy of a tokenizer of `transformers` that uses `bpe_rs.hf.Tokenizer` as its back end.

    Special tokens, chat template and all other settings are kept; the class is a subclass of the
    tokenizer's, with its name. What its `train_new_from_iterator` returns is trained and runs on
    this engine, too. Its calls return the numbers of a batch without an `Encoding` object for each
    text; `encodings`, `word_ids()` and the like make these objects when they are first asked for.

    Raises TypeError for a tokenizer without a `tokenizers` back end (a "slow" one), ValueError
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
    # The memo makes the deep copy use ours wherever the original refers to its back end.
    made: Any = copy.deepcopy(tokenizer, {id(backend): ours})
    # CLIP's classes replace a method of their back end.
    replace_methods = getattr(made, "_wrap_decode_method_backend_tokenizer", None)
    if replace_methods is not None:
        replace_methods()
    made.train_new_from_iterator = partial(_train_new_from_iterator, made)
    # Here, because it imports transformers.
    from bpe_rs.hf import _batch_encoding

    object.__setattr__(made, "__class__", _batch_encoding.fast_class(type(made)))
    return made


def _train_new_from_iterator(tokenizer: Any, *args: Any, **kwargs: Any) -> Any:
    """The method of the tokenizer's class, trained and run on our engine."""
    method: Any = type(tokenizer).train_new_from_iterator
    if isinstance(method, FunctionType) and "TokenizerFast" in method.__globals__:
        # A copy of the function for which the name of the back end's class means ours.
        names = {**method.__globals__, "TokenizerFast": Tokenizer}
        ours = FunctionType(
            method.__code__, names, method.__name__, method.__defaults__, method.__closure__
        )
        ours.__kwdefaults__ = method.__kwdefaults__
        method = ours
    return from_pretrained_fast(method(tokenizer, *args, **kwargs))
