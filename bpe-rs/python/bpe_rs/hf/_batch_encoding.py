"""Calls of a tokenizer of `transformers` without an object for each text.

`fast_class` gives a class of `transformers` a subclass with these calls. The ordinary
`TokenizersBackend._encode_plus` asks its back end for one `Encoding` a text and reads its
properties one by one. `encode_plus` takes its place: the numbers of the whole batch come from one
call, as lists or as one array, and `Encoding` objects are made when someone asks for them. What it
does not cover goes to the method of the class, which is the reference.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
from transformers import BatchEncoding, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils.generic import PaddingStrategy
from transformers.utils.import_utils import is_torch_available

from bpe_rs._core import HfColumns
from bpe_rs.hf._tokenizer import Tokenizer

_DO_NOT_PAD = PaddingStrategy.DO_NOT_PAD
_DO_NOT_TRUNCATE = TruncationStrategy.DO_NOT_TRUNCATE


class LazyBatchEncoding(BatchEncoding):
    """A `BatchEncoding` whose `Encoding` objects are made when they are first asked for.

    Copies by `copy.deepcopy` and pickles are plain `BatchEncoding` objects.
    """

    @classmethod
    def of(cls, data: dict[str, Any], columns: HfColumns) -> LazyBatchEncoding:
        """With `data`; the encodings come from `columns`."""
        # Without `__init__`, which sets the items of `data` one by one.
        batch = cls.__new__(cls)
        batch.data = data
        batch._columns = columns
        batch._n_sequences = columns.n_sequences
        return batch

    @property
    def _encodings(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        made = self._columns
        if isinstance(made, HfColumns):
            self._columns = made = made.encodings()
        return made

    @_encodings.setter
    def _encodings(self, value: Any) -> None:
        self._columns = value

    @property
    def is_fast(self) -> bool:
        return self._columns is not None

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return BatchEncoding, (), self.__getstate__()


def _is_input(value: Any) -> bool:
    """Whether `value` is a text, or a list or tuple that begins with a text, words or a pair."""
    if isinstance(value, str):
        return True
    if not isinstance(value, (list, tuple)) or not value:
        return False
    first = value[0]
    if isinstance(first, str):
        return True
    return isinstance(first, (list, tuple)) and len(first) > 0 and isinstance(first[0], str)


def _batch(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[Any, bool]:
    """The inputs as a batch, and whether the caller gave a batch; None as inputs where the method
    of the class must judge."""
    if isinstance(text, str):
        is_batched = False
    elif _is_input(text):
        is_batched = not is_split_into_words or not isinstance(text[0], str)
    else:
        return None, False
    if text_pair is None:
        return (text if is_batched else [text]), is_batched
    if not _is_input(text_pair):
        return None, False
    if not is_batched:
        return ([(text, text_pair)] if text_pair else [text]), False
    if isinstance(text_pair, str) or len(text) != len(text_pair):
        return None, False
    return list(zip(text, text_pair, strict=True)), True


def encode_plus(
    tokenizer: Any,
    text: Any,
    text_pair: Any = None,
    add_special_tokens: bool = True,
    padding_strategy: Any = _DO_NOT_PAD,
    truncation_strategy: Any = _DO_NOT_TRUNCATE,
    max_length: int | None = None,
    stride: int = 0,
    is_split_into_words: bool = False,
    pad_to_multiple_of: int | None = None,
    padding_side: str | None = None,
    return_tensors: Any = None,
    return_token_type_ids: bool | None = None,
    return_attention_mask: bool | None = None,
    return_overflowing_tokens: bool = False,
    return_special_tokens_mask: bool = False,
    return_offsets_mapping: bool = False,
    return_length: bool = False,
    verbose: bool = True,
    split_special_tokens: bool | None = None,
    **kwargs: Any,
) -> BatchEncoding:
    """`TokenizersBackend._encode_plus`, with the same arguments, results and errors."""
    backend = tokenizer._tokenizer
    inputs, is_batched, made = None, False, None
    if (
        not (kwargs or return_overflowing_tokens or return_offsets_mapping)
        and type(backend) is Tokenizer
        and (return_tensors is None or return_tensors == "np" or _is_torch(return_tensors))
    ):
        inputs, is_batched = _batch(text, text_pair, is_split_into_words)
    if inputs is not None:
        if (
            padding_strategy is not _DO_NOT_PAD
            or truncation_strategy is not _DO_NOT_TRUNCATE
            or backend.padding is not None
            or backend.truncation is not None
        ):
            tokenizer.set_truncation_and_padding(
                padding_strategy=padding_strategy,
                truncation_strategy=truncation_strategy,
                max_length=max_length,
                stride=stride,
                pad_to_multiple_of=pad_to_multiple_of,
                padding_side=padding_side,
            )
        if split_special_tokens is None:
            split_special_tokens = tokenizer.split_special_tokens
        if backend.encode_special_tokens != split_special_tokens:
            backend.encode_special_tokens = bool(split_special_tokens)
        if return_token_type_ids is None:
            return_token_type_ids = "token_type_ids" in tokenizer.model_input_names
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in tokenizer.model_input_names
        made = backend._core.encode_columns(
            inputs,
            is_split_into_words,
            add_special_tokens,
            backend._settings.get(),
            bool(return_token_type_ids),
            bool(return_attention_mask),
            bool(return_special_tokens_mask),
            return_tensors is not None,
            not is_batched,
        )
    if made is None:
        return type(tokenizer)._ordinary_class._encode_plus(
            tokenizer,
            text,
            text_pair=text_pair,
            add_special_tokens=add_special_tokens,
            padding_strategy=padding_strategy,
            truncation_strategy=truncation_strategy,
            max_length=max_length,
            stride=stride,
            is_split_into_words=is_split_into_words,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_tensors=return_tensors,
            return_token_type_ids=return_token_type_ids,
            return_attention_mask=return_attention_mask,
            return_overflowing_tokens=return_overflowing_tokens,
            return_special_tokens_mask=return_special_tokens_mask,
            return_offsets_mapping=return_offsets_mapping,
            return_length=return_length,
            verbose=verbose,
            split_special_tokens=split_special_tokens,
            **kwargs,
        )
    if max_length is None and verbose and made.longest > tokenizer.model_max_length:
        for length in made.lengths:
            tokenizer._eventual_warn_about_too_long_sequence(range(length), max_length, verbose)
    data: dict[str, Any] = made.data
    if return_length:
        data["length"] = made.lengths
    if return_tensors is not None:
        data = {key: _tensor(value, return_tensors) for key, value in data.items()}
    return LazyBatchEncoding.of(data, made)


def _is_torch(return_tensors: Any) -> bool:
    return return_tensors == "pt" and is_torch_available()


def _tensor(value: Any, return_tensors: Any) -> Any:
    """A column, or the list of lengths, as an array or a tensor of int64."""
    array = np.asarray(value, np.int64)
    if return_tensors == "np":
        return array
    import torch

    return torch.from_numpy(array)


def call(tokenizer: Any, text: Any = None, *args: Any, **kwargs: Any) -> Any:
    """`PreTrainedTokenizerBase.__call__`, quicker for one text and nothing else: then what is done
    with the arguments takes longer than the text."""
    if not (args or kwargs):
        backend = tokenizer._tokenizer
        if type(backend) is Tokenizer:
            made = backend._batch_of_text(tokenizer, text, LazyBatchEncoding)
            if made is not None:
                return made
    return type(tokenizer)._ordinary_class.__call__(tokenizer, text, *args, **kwargs)


def _reduce_ex(tokenizer: Any, protocol: Any) -> tuple[Any, ...]:
    """The instance is made again from the ordinary class, which can be imported."""
    get_state = getattr(tokenizer, "__getstate__", None)  # Python 3.10 has none
    state = tokenizer.__dict__ if get_state is None else get_state()
    return _fast_instance, (type(tokenizer)._ordinary_class,), state


def _fast_instance(cls: type) -> Any:
    fast: Any = fast_class(cls)
    return fast.__new__(fast)


@cache
def fast_class(cls: type) -> type:
    """A subclass of a class of `transformers` with quicker calls and the same name.

    The class itself if it has other methods than those that `encode_plus` and `call` stand for.
    """
    theirs: Any = PreTrainedTokenizerFast
    ordinary: Any = cls
    names = list(inspect.signature(theirs._encode_plus).parameters)[1:]
    known = list(inspect.signature(encode_plus).parameters)[1:]
    if names != known or "_ordinary_class" in cls.__dict__:
        return cls
    same = {
        name
        for name in ("__call__", "_encode_plus", "_convert_encoding", "__reduce_ex__")
        if getattr(ordinary, name) is getattr(theirs, name)
    }
    if not {"_encode_plus", "_convert_encoding", "__reduce_ex__"} <= same:
        return cls
    methods: dict[str, Any] = {"_encode_plus": encode_plus, "__reduce_ex__": _reduce_ex}
    # `call` looks into the instance first.
    looked_up = ("split_special_tokens", "model_input_names", "model_max_length")
    found = [inspect.getattr_static(cls, name, None) for name in looked_up]
    is_plain = not any(hasattr(type(value), "__set__") for value in found)
    if is_plain and "__call__" in same and not hasattr(cls, "_switch_to_input_mode"):
        methods["__call__"] = call
    like = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls)(cls.__name__, (cls,), {**methods, **like, "_ordinary_class": cls})
