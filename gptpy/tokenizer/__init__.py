"""Every tokenizer behind one interface: byte-level BPE, word-level BPE, characters."""

from gptpy.tokenizer.foreign import ForeignTokenizer
from gptpy.tokenizer.opening import (
    END_OF_TEXT,
    FILE_NAME,
    Tokenizer,
    decode_ids,
    encode_array,
    encode_batch,
    end_of_text,
    is_lossless,
    make_tokenizer,
    open_tokenizer,
    prune_tokenizer,
    save_file,
    save_tokenizer,
    train_tokenizer,
)
from gptpy.tokenizer.simple import NumberTokenizer

__all__ = [
    "END_OF_TEXT",
    "FILE_NAME",
    "ForeignTokenizer",
    "NumberTokenizer",
    "Tokenizer",
    "decode_ids",
    "encode_array",
    "encode_batch",
    "end_of_text",
    "is_lossless",
    "make_tokenizer",
    "open_tokenizer",
    "prune_tokenizer",
    "save_file",
    "save_tokenizer",
    "train_tokenizer",
]
