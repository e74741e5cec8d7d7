"""The `tokenizer.json` files of `benches/hf.py`: components of published families around
vocabularies that are at hand or trained here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpe_rs
import tokenizers
from bpe_rs import hf
from corpora import SHARED, texts
from tokenizers import AddedToken, Regex, models, normalizers, processors
from tokenizers import pre_tokenizers as pre

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
MARK_TO_SPACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
SPACE_TO_MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}


def gpt2(path: Path) -> None:
    path.write_bytes((SHARED / "vocab" / "gpt2-tokenizer.json").read_bytes())


def around_cl100k(path: Path, pattern: str, reserved: int, *, whole_pieces: bool) -> Any:
    """The vocabulary of cl100k_base with another pattern and more control tokens."""
    bpe_rs.get_encoding("cl100k_base").save(str(path))
    file = json.loads(path.read_text())
    added = {token["content"] for token in file.pop("added_tokens")}
    vocab = file["model"]["vocab"].items()
    file["model"]["vocab"] = {token: id for token, id in vocab if token not in added}
    file["added_tokens"] = []
    file["model"]["ignore_merges"] = whole_pieces
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(file))
    last = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre.Sequence([pre.Split(Regex(pattern), "isolated"), last])
    control = ["<|endoftext|>", "<|begin_of_text|>", "<|im_start|>", "<|im_end|>"]
    control += [f"<|reserved_{at}|>" for at in range(reserved)]
    tokenizer.add_special_tokens([AddedToken(c, special=True) for c in control])
    return tokenizer


def llama3(path: Path) -> None:
    tokenizer = around_cl100k(path, LLAMA3, 250, whole_pieces=True)
    start = "<|begin_of_text|>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A",
        pair=f"{start} $A {start}:1 $B:1",
        special_tokens=[(start, tokenizer.token_to_id(start))],
    )
    tokenizer.save(str(path))


def qwen3(path: Path) -> None:
    tokenizer = around_cl100k(path, LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"), 20, whole_pieces=False)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.save(str(path))


def byte_fallback(path: Path, size: int, control: list[str], **parts: Any) -> None:
    """A vocabulary of characters, with bytes for missing ones, trained on the bench's corpora."""
    theirs = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    theirs.pre_tokenizer = pre.Metaspace(split=True)
    tokenizer = hf.Tokenizer.from_str(theirs.to_str())
    control = [*control, "<|endoftext|>"]
    trainer = hf.BpeTrainer(vocab_size=size, special_tokens=[*control, *BYTES], limit_alphabet=8000)
    corpora = [text[:8_000_000] for text in texts(quick=True).values()]
    lines = [line for text in corpora for line in text.splitlines(keepends=True)]
    tokenizer.train_from_iterator(lines, trainer)
    file = json.loads(tokenizer.to_str())
    # That the bytes are no added tokens is essential.
    file["added_tokens"] = file["added_tokens"][: len(control)]
    special = [{"id": control[2], "ids": [2], "tokens": [control[2]]}]
    start, first, second = (
        {"SpecialToken": {"id": control[2], "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 1}},
    )
    file["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [start, first],
        "pair": [start, first, {"SpecialToken": {"id": control[2], "type_id": 1}}, second],
        "special_tokens": {each["id"]: each for each in special},
    }
    decoders = [MARK_TO_SPACE, {"type": "ByteFallback"}, {"type": "Fuse"}]
    file["decoder"] = {"type": "Sequence", "decoders": decoders}
    path.write_text(json.dumps(file | parts))


def llama2(path: Path) -> None:
    prepend = {"type": "Prepend", "prepend": "▁"}
    normalizer = {"type": "Sequence", "normalizers": [prepend, SPACE_TO_MARK]}
    control = ["<unk>", "</s>", "<s>"]
    byte_fallback(path, 32_000, control, normalizer=normalizer, pre_tokenizer=None)


def gemma(path: Path) -> None:
    split = {
        "type": "Split",
        "pattern": {"String": " "},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }
    control = ["<pad>", "<unk>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
    byte_fallback(path, 256_000, control, normalizer=SPACE_TO_MARK, pre_tokenizer=split)


SHAPES: dict[str, Callable[[Path], None]] = {
    "GPT-2": gpt2,
    "Llama 3": llama3,
    "Qwen 3": qwen3,
    "Llama 2": llama2,
    "Gemma": gemma,
}


def shape(name: str, folder: Path) -> Path:
    """The file of a shape, made in `folder` where it is missing."""
    path = folder / f"{name}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{name}.part.json"
        SHAPES[name](part)
        part.replace(path)
    return path
