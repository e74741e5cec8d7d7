"""Model families for the comparison with Hugging Face's own engine, beyond plain byte-level BPE.

Each has the components and settings of the published `tokenizer.json` of its family, around a small
vocabulary that is trained here.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import tokenizers
from hf_parts import (
    BERT,
    BYTE_LEVEL,
    BYTES,
    CLIP_WORDS,
    KIMI,
    MARK_TO_SPACE,
    PREPEND,
    SPACE_TO_MARK,
    STRIP,
    added,
    build,
    character_map,
    decoder_sequence,
    metaspace,
    normalizer_sequence,
    pre_sequence,
    roberta,
    split,
    template,
)


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
    return sentencepiece(pre_tokenizer=metaspace("always", True), decoder=metaspace("always", True))


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
    return file | {
        "post_processor": roberta(file, "<|startoftext|>", "<|endoftext|>", False, False)
    }


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
    file = build(
        "bytes", pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL, model={"unk_token": "<unk>"}
    )
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


def precompiled() -> dict[str, Any]:
    """What a SentencePiece model with `nmt_nfkc` becomes: single characters, marks, deletions."""
    rules = {"\n": " ", "\t": " ", "\r": " ", "\x01": "", "\u200b": "", "\u3000": " ", "▁": " "}
    rules |= {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}
    rules |= {"e\u0301": "é", "a\u0300": "à", "e\u0323\u0301": "ẹ\u0301", "½": "1⁄2", "ß": "ss"}
    rules |= {"ー": "", "가각": "x", "\r\n": "\n", "İ": "i\u0307", "🎉": "!", "d": "D", "don": ""}
    steps = [{"type": "Precompiled", "precompiled_charsmap": character_map(rules)}]
    steps += [{"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]
    return sentencepiece(
        normalizer=normalizer_sequence(*steps),
        pre_tokenizer=metaspace("always", True),
        decoder=metaspace("always", True),
    )


def scripts() -> dict[str, Any]:
    steps = pre_sequence({"type": "UnicodeScripts"}, {"type": "WhitespaceSplit"})
    return build("mark", pre_tokenizer=steps, model={"unk_token": "<unk>"})


def lines_of_marks() -> dict[str, Any]:
    steps = pre_sequence(split(r"^▁+$"), split(r"^[A-Z]|\d$|\Z", "MergedWithNext"))
    return llama2() | {"pre_tokenizer": steps}


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
        precompiled,
        scripts,
        lines_of_marks,
    )
}


@cache
def family(name: str) -> str:
    """The `tokenizer.json` of a family, as Hugging Face's engine writes it."""
    file = json.dumps(FAMILIES[name](), ensure_ascii=False)
    return tokenizers.Tokenizer.from_str(file).to_str()
