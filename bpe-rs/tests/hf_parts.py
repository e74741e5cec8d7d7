"""Components of `tokenizer.json` files, and small vocabularies trained for `hf_families`."""

from __future__ import annotations

import base64
import itertools
import json
import struct
from functools import cache
from pydoc_data.topics import topics
from typing import Any

import tokenizers
from hf_cases import WORDS
from tokenizers import models, normalizers, trainers
from tokenizers import pre_tokenizers as pre

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPACE_TO_MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
MARK_TO_SPACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
PREPEND = {"type": "Prepend", "prepend": "▁"}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
KIMI = "|".join(
    [
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
BERT = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}


def normalizer_sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


def pre_sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def decoder_sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "decoders": list(steps)}


def metaspace(scheme: str, split: bool) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


def split(pattern: str, behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    pattern_json = {"Regex": pattern}
    return {"type": "Split", "pattern": pattern_json, "behavior": behavior, "invert": invert}


@cache
def _trained(kind: str, special: tuple[str, ...], size: int) -> str:
    """A vocabulary of `size` tokens whose alphabet is `kind`'s."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    settings: dict[str, Any] = {}
    if kind == "mark":
        tokenizer.pre_tokenizer = pre.Metaspace(split=True)
    elif kind == "bytes":
        tokenizer.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        settings["initial_alphabet"] = pre.ByteLevel.alphabet()
    else:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=kind == "lower words")
        tokenizer.pre_tokenizer = pre.BertPreTokenizer()
        settings[
            "end_of_word_suffix" if kind != "prefix words" else "continuing_subword_prefix"
        ] = "</w>" if kind != "prefix words" else "##"
    if kind == "suffix bytes":
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre.Sequence(
            [
                pre.Split(tokenizers.Regex(CLIP_WORDS), "removed", invert=True),
                pre.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        settings["initial_alphabet"] = pre.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(special), show_progress=False, **settings
    )
    texts = [*list(topics.values())[:12], " ".join([WORDS] * 8), "\n\n\n  x", "▁▁▁▁ ▁▁"]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str()


def build(
    kind: str,
    special: tuple[str, ...] = ("<unk>", "<s>", "</s>"),
    size: int = 900,
    **parts: Any,
) -> dict[str, Any]:
    """A `tokenizer.json`: the trained model with the settings of `parts["model"]`, and `parts`."""
    file = json.loads(_trained(kind, special, size))
    model = {**file["model"], **parts.pop("model", {})}
    empty = dict.fromkeys(("normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return {**file, **empty, **parts, "model": model}


def template(before: str, after: str, file: dict[str, Any]) -> dict[str, Any]:
    """`before` and `after` around every sequence; either may be empty."""
    vocab = file["model"]["vocab"]

    def around(sequence: str, type_id: int) -> list[dict[str, Any]]:
        items = [{"SpecialToken": {"id": before, "type_id": type_id}}] if before else []
        items += [{"Sequence": {"id": sequence, "type_id": type_id}}]
        return items + ([{"SpecialToken": {"id": after, "type_id": type_id}}] if after else [])

    names = [name for name in (before, after) if name]
    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": around("A", 0) + around("B", 1),
        "special_tokens": {
            name: {"id": name, "ids": [vocab[name]], "tokens": [name]} for name in names
        },
    }


def added(file: dict[str, Any], *tokens: str, **flags: bool) -> None:
    """Add tokens, with the next ids or those of the vocabulary."""
    vocab = file["model"]["vocab"]
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    for token in tokens:
        taken = [*vocab.values(), *(each["id"] for each in file["added_tokens"])]
        id = vocab.get(token, max(taken) + 1)
        file["added_tokens"].append({"id": id, "content": token, **plain, **flags})


def character_map(rules: dict[str, str]) -> str:
    """SentencePiece's format, in base64: the size of a trie, its units, the replacements."""
    replacements, starts = b"", dict[bytes, int]()
    for key, content in rules.items():
        starts[key.encode()] = len(replacements)
        replacements += content.encode() + b"\0"
    units: dict[int, int] = {0: 0}

    def place(at: int, keys: dict[bytes, int]) -> None:
        """The node `at`, from which `keys` lead on; an empty one ends there."""
        labels = sorted({key[0] if key else 0 for key in keys})
        free = (base for base in itertools.count(1) if all(base ^ c not in units for c in labels))
        base = next(free)
        units[at] |= (at ^ base) << 10 | (b"" in keys) << 8
        units.update({base ^ label: label for label in labels})
        for label in labels:
            below = {key[1:]: start for key, start in keys.items() if key[:1] == bytes([label])}
            if below:
                place(base ^ label, below)
        if b"" in keys:
            units[base] = keys[b""] | 1 << 31

    place(0, starts)
    # A unit that is not used has the label of none.
    trie = [units.get(at, 1 << 31) for at in range(max(units) | 0xFF)]
    packed = struct.pack(f"<{1 + len(trie)}I", 4 * len(trie), *trie)
    return base64.b64encode(packed + replacements).decode()


def roberta(
    file: dict[str, Any], before: str, after: str, trim_offsets: bool, add_prefix_space: bool
) -> dict[str, Any]:
    vocab = file["model"]["vocab"]
    return {
        "type": "RobertaProcessing",
        "sep": [after, vocab[after]],
        "cls": [before, vocab[before]],
        "trim_offsets": trim_offsets,
        "add_prefix_space": add_prefix_space,
    }
