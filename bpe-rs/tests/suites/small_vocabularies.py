"""Small tokenizers of every BPE class of `transformers`, trained offline on texts of Python."""

from __future__ import annotations

import tempfile
from functools import cache
from pydoc_data.topics import topics
from typing import Any

import transformers

T: Any = transformers
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# Classes with a BPE model, and whether their tokens include every byte by name.
CLASSES: dict[str, bool] = {
    "BlenderbotTokenizer": False,
    "CLIPTokenizer": False,
    "CodeGenTokenizer": False,
    "CodeLlamaTokenizer": True,
    "CohereTokenizer": False,
    "DebertaTokenizer": False,
    "GPT2Tokenizer": False,
    "GPTNeoXTokenizer": False,
    "GemmaTokenizer": True,
    "HerbertTokenizer": False,
    "LlamaTokenizer": True,
    "LukeTokenizer": False,
    "NllbTokenizer": True,
    "NougatTokenizer": False,
    "OpenAIGPTTokenizer": False,
    "Qwen2Tokenizer": False,
    "ReformerTokenizer": False,
    "RobertaTokenizer": False,
    "SeamlessM4TTokenizer": False,
    "WhisperTokenizer": False,
}


def trained(name: str, **arguments: Any) -> Any:
    """A tokenizer of a class, made with `arguments`, with a vocabulary of some 1,200 tokens."""
    texts = [*list(topics.values())[:8], "This is a test. Wonderful no inspiration example with"]
    special = BYTES if CLASSES.get(name) else None
    empty = getattr(T, name)(**arguments)
    return empty.train_new_from_iterator(texts, 1200, new_special_tokens=special)


@cache
def saved(name: str) -> str:
    """The folder of a small tokenizer of a class, as `save_pretrained` writes it."""
    folder = tempfile.mkdtemp(prefix=f"{name}-")
    trained(name).save_pretrained(folder)
    return folder
