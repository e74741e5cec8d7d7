"""What llama.cpp calls the ways of cutting text that it knows; it knows them by name alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptpy.interop.errors import ExportError, object_of

GPT2 = "gpt-2"
# Regular expressions by name, every spelling that cuts all texts alike. cl100k and o200k have no
# name: llama.cpp's nearest cut white space at the end of a text, and words with letters beyond
# ASCII, differently.
PATTERNS = {
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s": GPT2,
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": GPT2,
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": GPT2,
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": GPT2,
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "llama-bpe",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+": "llama-bpe",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "qwen2",
}


def pre_tokenizer(about: dict[str, Any]) -> str:
    """llama.cpp's name for the pre-tokenizer of a `tokenizer.json`; `ExportError` without one."""
    if (about.get("normalizer") or {}).get("type") in (None, "NFC"):
        cut = about.get("pre_tokenizer") or {}
        parts = cut.get("pretokenizers", [cut])
        match parts:
            # GPT-2's pattern is built into ByteLevel
            case [{"type": "ByteLevel", "add_prefix_space": False, **rest}]:
                if rest.get("use_regex", True):
                    return GPT2
            case [
                {"type": "Split", "behavior": "Isolated", "invert": False, "pattern": pattern},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ]:
                if pattern.get("Regex") in PATTERNS:
                    return PATTERNS[pattern["Regex"]]
    raise ExportError(
        "llama.cpp cuts text as gpt2, llama3 and qwen2 do, and this tokenizer does it otherwise: "
        "export without the tokenizer, or train one with --pattern gpt2, llama3 or qwen2"
    )


def note_on(tokenizer_file: Path) -> str | None:
    """What to know of a tokenizer before training with it, if GGUF will not take it."""
    about = object_of(tokenizer_file)
    if "merges" not in about.get("model", {}):
        return None  # of characters or words: no other program reads it
    try:
        pre_tokenizer(about)
    except ExportError:
        return (
            "note: llama.cpp has no name for this tokenizer's pattern, so that `gptpy export "
            "--format gguf` will refuse it; it takes those trained with --pattern gpt2, llama3 or "
            "qwen2 and without --across-words"
        )
    return None
