"""Model families for the comparison with Hugging Face's own engine, beyond plain byte-level BPE.

Each has the components and settings of the published `tokenizer.json` of its family, around a small
vocabulary that is trained here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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
        settings["end_of_word_suffix" if kind != "prefix words" else "continuing_subword_prefix"] = (
            "</w>" if kind != "prefix words" else "##"
        )
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


def sentencepiece(**parts: Any) -> dict[str, Any]:
    """What Llama 2, Mistral, Gemma and their kin share: characters, with bytes for missing ones."""
    special = ("<unk>", "<s>", "</s>", *BYTES)
    model = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True} | parts.pop("model", {})
    file = build("mark", special, 1300, model=model, **parts)
    # Only the first three are control tokens; that the bytes are no added tokens is essential.
    file["added_tokens"] = [each for each in file["added_tokens"] if each["id"] < 3]
    file["post_processor"] = template("<s>", "", file)
    return file


def llama2() -> dict[str, Any]:
    return sentencepiece(
        normalizer=normalizer_sequence(PREPEND, SPACE_TO_MARK),
        decoder=decoder_sequence(MARK_TO_SPACE, {"type": "ByteFallback"}, {"type": "Fuse"}, STRIP),
    )


def mistral_v3() -> dict[str, Any]:
    file = llama2() | {"normalizer": None, "pre_tokenizer": metaspace("first", False)}
    added(file, "[INST]", "[/INST]", special=True)
    return file


def codellama() -> dict[str, Any]:
    file = llama2()
    added(file, "▁<PRE>", "▁<SUF>", special=True)
    added(file, "<FILL>", lstrip=True, rstrip=True, normalized=True)
    return file


def phi3() -> dict[str, Any]:
    file = llama2()
    added(file, "<|user|>", "<|end|>", rstrip=True, special=True)
    return file


def gemma() -> dict[str, Any]:
    file = sentencepiece(
        normalizer=SPACE_TO_MARK,
        pre_tokenizer={
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        decoder=decoder_sequence(MARK_TO_SPACE, {"type": "ByteFallback"}, {"type": "Fuse"}),
    )
    added(file, "<start_of_turn>", "\n\n", "▁▁", "</b>")
    return file


def yi() -> dict[str, Any]:
    return llama2() | {"normalizer": SPACE_TO_MARK}


def metaspace_always() -> dict[str, Any]:
    return sentencepiece(
        pre_tokenizer=metaspace("always", True), decoder=metaspace("always", True)
    )


def metaspace_never() -> dict[str, Any]:
    return sentencepiece(
        normalizer={"type": "Nmt"},
        pre_tokenizer=metaspace("never", True),
        decoder=metaspace("never", True),
        model={"fuse_unk": False},
    )


def metaspace_after_split() -> dict[str, Any]:
    """`first` asks for the place in the original, which normalisers and earlier splits change."""
    steps = pre_sequence({"type": "WhitespaceSplit"}, metaspace("first", True))
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    replace = {"type": "Replace", "pattern": {"Regex": r"[ \n]+"}, "content": " "}
    return sentencepiece(normalizer=normalizer_sequence(strip, replace), pre_tokenizer=steps)


def some_bytes() -> dict[str, Any]:
    """Half of the bytes have tokens: unknown symbols wait behind them."""
    file = llama2()
    for token in BYTES[::2]:
        del file["model"]["vocab"][token]
    return renumbered(file)


def unknown_fused() -> dict[str, Any]:
    file = llama2()
    file["model"]["byte_fallback"] = False
    return file


def unknown_single() -> dict[str, Any]:
    file = unknown_fused()
    file["model"]["fuse_unk"] = False
    return file


def dropped() -> dict[str, Any]:
    file = unknown_fused()
    file["model"]["unk_token"] = None
    return file


def whole_pieces() -> dict[str, Any]:
    """Tokens that merging does not make."""
    file = metaspace_always()
    vocab = file["model"]["vocab"]
    for token in ("▁zzz", "▁Hello,", "▁qx▁", "▁<0x41>"):
        vocab[token] = max(vocab.values()) + 1
    file["model"]["ignore_merges"] = True
    return file


def renumbered(file: dict[str, Any]) -> dict[str, Any]:
    """Ids without gaps."""
    tokens = sorted(file["model"]["vocab"], key=file["model"]["vocab"].__getitem__)
    file["model"]["vocab"] = {token: id for id, token in enumerate(tokens)}
    return file


def clip() -> dict[str, Any]:
    file = build(
        "suffix bytes",
        ("<|startoftext|>", "<|endoftext|>"),
        normalizer=normalizer_sequence(
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ),
        pre_tokenizer=pre_sequence(split(CLIP_WORDS, "Removed", True), BYTE_LEVEL),
        decoder=BYTE_LEVEL,
        model={
            "unk_token": "<|endoftext|>",
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
        },
    )
    return file | {"post_processor": roberta(file, "<|startoftext|>", "<|endoftext|>", False, False)}


def openai_gpt() -> dict[str, Any]:
    return build(
        "lower words",
        ("<unk>",),
        normalizer=BERT,
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "BPEDecoder", "suffix": "</w>"},
        model={"unk_token": "<unk>", "end_of_word_suffix": "</w>"},
    )


def herbert() -> dict[str, Any]:
    file = build(
        "words",
        normalizer=BERT | {"lowercase": False, "strip_accents": False},
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "BPEDecoder", "suffix": "</w>"},
        model={"unk_token": "<unk>", "end_of_word_suffix": "</w>"},
    )
    vocab = file["model"]["vocab"]
    ends = {"sep": ["</s>", vocab["</s>"]], "cls": ["<s>", vocab["<s>"]]}
    return file | {"post_processor": {"type": "BertProcessing", **ends}}


def continuing_prefix() -> dict[str, Any]:
    return build(
        "prefix words",
        normalizer=normalizer_sequence({"type": "NFKD"}, {"type": "StripAccents"}),
        pre_tokenizer={"type": "Whitespace"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        model={"unk_token": "<unk>", "continuing_subword_prefix": "##"},
    )


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


def bart() -> dict[str, Any]:
    file = build("bytes", pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL)
    added(file, "<mask>", lstrip=True, special=True)
    return file | {"post_processor": roberta(file, "<s>", "</s>", True, False)}


def blenderbot() -> dict[str, Any]:
    byte_level = BYTE_LEVEL | {"add_prefix_space": True}
    file = build("bytes", pre_tokenizer=byte_level, decoder=byte_level)
    return file | {"post_processor": roberta(file, "<s>", "</s>", True, True)}


def modernbert() -> dict[str, Any]:
    special = ("[UNK]", "[CLS]", "[SEP]")
    file = build(
        "bytes",
        special,
        normalizer={"type": "NFC"},
        pre_tokenizer=BYTE_LEVEL,
        decoder=BYTE_LEVEL,
    )
    added(file, "[MASK]", lstrip=True, special=True)
    return file | {"post_processor": template("[CLS]", "[SEP]", file)}


def falcon() -> dict[str, Any]:
    steps = pre_sequence(
        {"type": "Punctuation", "behavior": "Contiguous"},
        BYTE_LEVEL,
        {"type": "Digits", "individual_digits": False},
        split("[0-9][0-9][0-9]"),
    )
    return build("bytes", pre_tokenizer=steps, decoder=BYTE_LEVEL)


def kimi() -> dict[str, Any]:
    steps = pre_sequence(split(KIMI), BYTE_LEVEL | {"use_regex": False})
    return build("bytes", pre_tokenizer=steps, decoder=BYTE_LEVEL)


def byte_level_normalizer() -> dict[str, Any]:
    return build(
        "bytes",
        normalizer=normalizer_sequence({"type": "NFC"}, {"type": "ByteLevel"}),
        pre_tokenizer=split(r"Ġ?[^Ġ]+|Ġ+"),
        decoder=BYTE_LEVEL,
    )


def missing_bytes_with_unknown() -> dict[str, Any]:
    file = build("bytes", pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL, model={"unk_token": "<unk>"})
    for token in ("Ã", "é", "ÿ", "¯", "!"):
        file["model"]["merges"] = [m for m in file["model"]["merges"] if token not in "".join(m)]
        for each in [each for each in file["model"]["vocab"] if token in each]:
            del file["model"]["vocab"][each]
    return renumbered(file)


def delimiters() -> dict[str, Any]:
    steps = pre_sequence(
        {"type": "CharDelimiterSplit", "delimiter": " "},
        {"type": "Punctuation", "behavior": "MergedWithPrevious"},
        {"type": "Digits", "individual_digits": True},
        {"type": "FixedLength", "length": 7},
    )
    strip = {"type": "Strip", "strip_left": True, "strip_right": False}
    return build(
        "mark",
        normalizer=normalizer_sequence(strip, {"type": "Lowercase"}, PREPEND),
        pre_tokenizer=steps,
        decoder={
            "type": "CTC",
            "pad_token": "<s>",
            "word_delimiter_token": "|",
            "cleanup": True,
        },
        model={"unk_token": "<unk>"},
    )


FAMILIES: dict[str, Callable[[], dict[str, Any]]] = {
    build.__name__: build
    for build in (
        llama2,
        mistral_v3,
        codellama,
        phi3,
        gemma,
        yi,
        metaspace_always,
        metaspace_never,
        metaspace_after_split,
        some_bytes,
        unknown_fused,
        unknown_single,
        dropped,
        whole_pieces,
        clip,
        openai_gpt,
        herbert,
        continuing_prefix,
        bart,
        blenderbot,
        modernbert,
        falcon,
        kimi,
        byte_level_normalizer,
        missing_bytes_with_unknown,
        delimiters,
    )
}


@cache
def family(name: str) -> str:
    """The `tokenizer.json` of a family, as Hugging Face's engine writes it."""
    file = json.dumps(FAMILIES[name](), ensure_ascii=False)
    return tokenizers.Tokenizer.from_str(file).to_str()
