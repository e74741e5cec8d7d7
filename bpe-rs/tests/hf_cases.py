"""Tokenizers and texts for the comparison with Hugging Face's own engine.

The tokenizers are small and trained here, on the documentation that ships with CPython, with the
components and patterns of the published `tokenizer.json` files of these families.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pydoc_data.topics import topics
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, processors
from tokenizers import pre_tokenizers as pre

FIELDS = (
    "ids",
    "type_ids",
    "tokens",
    "offsets",
    "attention_mask",
    "special_tokens_mask",
    "word_ids",
    "sequence_ids",
    "n_sequences",
)
"""What is compared of two `Encoding` objects."""

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK_CJK = "[一-龥\u3040-ゟ゠-ヿ]+"
DEEPSEEK_WORDS = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = (
    "Grüße naïve café Ελληνικά Привет मानक हिन्दी 中文字 日本語 ひらがな 한국어 🎉👩‍👩‍👧 ½ Ⅷ ١٢٣ ﬁne"
)


def last(use_regex: bool = False, add_prefix_space: bool = False) -> pre.ByteLevel:
    return pre.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)


def split(pattern: str, behavior: str = "isolated", invert: bool = False) -> pre.Split:
    return pre.Split(Regex(pattern), behavior, invert)


def special(*names: str) -> list[AddedToken]:
    return [AddedToken(name, special=True, normalized=False) for name in names]


def _train(pre_tokenizer: Any, *, alphabet: bool = True, size: int = 900) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre.ByteLevel.alphabet() if alphabet else [],
        show_progress=False,
    )
    texts = [*list(topics.values())[:12], " ".join([WORDS] * 8)]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def gpt2() -> tokenizers.Tokenizer:
    tokenizer = _train(pre.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def gpt2_prefix_space() -> tokenizers.Tokenizer:
    tokenizer = _train(pre.ByteLevel(add_prefix_space=True))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def llama3() -> tokenizers.Tokenizer:
    tokenizer = _train(pre.Sequence([split(LLAMA3), last()]))
    file = json.loads(tokenizer.to_str())
    file["model"]["ignore_merges"] = True
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(file))
    tokenizer.add_special_tokens(special("<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>"))
    bos = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                special_tokens=[("<|begin_of_text|>", bos)],
            ),
        ]
    )
    return tokenizer


def qwen2() -> tokenizers.Tokenizer:
    tokenizer = _train(pre.Sequence([split(QWEN2), last()]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    tokenizer.add_special_tokens(special("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    return tokenizer


def qwen3() -> tokenizers.Tokenizer:
    tokenizer = qwen2()
    names = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])
    return tokenizer


def deepseek_v3() -> tokenizers.Tokenizer:
    steps = [split(r"\p{N}{1,3}"), split(DEEPSEEK_CJK), split(DEEPSEEK_WORDS), last()]
    tokenizer = _train(pre.Sequence(steps))
    tokenizer.normalizer = normalizers.Sequence([])
    names = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"]
    tokenizer.add_special_tokens(special(*names))
    tokenizer.add_tokens([AddedToken("<｜User｜>"), AddedToken("<think>")])
    bos, eos = names
    ids = [(name, tokenizer.token_to_id(name)) for name in names]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", pair=f"{bos} $A {eos} $B:1 {eos}:1", special_tokens=ids
    )
    return tokenizer


def deepseek_coder() -> tokenizers.Tokenizer:
    steps = [
        split("[\r\n]"),
        split(r"\s?\p{L}+"),
        split(r"\s?\p{P}+"),
        split("[一-龥ࠀ-一가-퟿]+"),
        pre.Digits(individual_digits=True),
        last(),
    ]
    tokenizer = _train(pre.Sequence(steps))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=False)
    return tokenizer


def starcoder() -> tokenizers.Tokenizer:
    tokenizer = _train(pre.Sequence([pre.Digits(individual_digits=True), last(True)]))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def missing_bytes() -> tokenizers.Tokenizer:
    """Trained without the byte alphabet, as many users do, so that some bytes are no tokens."""
    return _train(pre.ByteLevel(add_prefix_space=False), alphabet=False)


def awkward_tokens() -> tokenizers.Tokenizer:
    """Added tokens with every flag, some inside others, some that normalisation changes."""
    tokenizer = _train(pre.Sequence([split(QWEN2), last()]))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.add_special_tokens(
        [
            AddedToken("<mask>", lstrip=True, rstrip=True, special=True, normalized=False),
            AddedToken("<left>", lstrip=True, special=True),
            AddedToken("<right>", rstrip=True, special=True, normalized=False),
        ]
    )
    tokenizer.add_tokens(
        [
            AddedToken("ing", single_word=True),
            AddedToken("caf", normalized=False),
            AddedToken("café", normalized=True),
            AddedToken("ﬁne", normalized=True),
            AddedToken("e\u0301x", normalized=True),
            AddedToken("中", single_word=True, rstrip=True),
            AddedToken("the", single_word=True, lstrip=True),
        ]
    )
    return tokenizer


def behaviors() -> tokenizers.Tokenizer:
    """Every behaviour of `Split`, with and without `invert`."""
    steps = [
        split(r"\p{N}", "merged_with_previous"),
        split(r"[.,]", "contiguous"),
        split(r"\p{L}+", "merged_with_next"),
        split(r"[\p{L}\p{N}]+", "merged_with_previous", True),
        pre.Split("-", "removed"),
        pre.Digits(individual_digits=False),
        last(),
    ]
    return _train(pre.Sequence(steps))


def prefix_after_split() -> tokenizers.Tokenizer:
    tokenizer = _train(pre.Sequence([split(QWEN2, "removed", True), last(False, True)]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.NFC()])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=True)
    return tokenizer


FAMILIES = {
    build.__name__: build
    for build in (
        gpt2,
        gpt2_prefix_space,
        llama3,
        qwen2,
        qwen3,
        deepseek_v3,
        deepseek_coder,
        starcoder,
        missing_bytes,
        awkward_tokens,
        behaviors,
        prefix_after_split,
    )
}


@lru_cache(None)
def family(name: str) -> str:
    """The `tokenizer.json` of a family."""
    return FAMILIES[name]().to_str()


TEXTS = [
    "",
    " ",
    "\n",
    "Hello, world!",
    " leading and trailing \t ",
    "tabs\tand\r\nlines\n\n\n  indented\n",
    "don't DON'T I'll WE'LL it'ſ 'sS' ''re",
    "1234567 12,345.67 3rd ½ Ⅷ ١٢٣",
    "e\u0301 a\u0301\u0316x cafe\u0301 café ﬁne fine caf cafés e\u0301x éx",
    "각 \u1100\u1161\u11a8 \u0958 \u2126 \ufb01 \u1e9b\u0323",
    "日本語と中文字。한국어 中 中中 中 x",
    "🎉👩‍👩‍👧🏽‍♂️ \u200d\u200c\ufeff",
    "Ελληνικά Привет मानक हिन्दी ไทย עברית",
    "\u00a0nbsp\u3000ideographic\u2028line\u2029para\u0085nel\u180e",
    "<|endoftext|> x<|endoftext|><|endoftext|>",
    "<|im_start|>user\nHi<|im_end|>\n<think> a </think><tool_call>",
    "a  <mask>  b<mask> <mask>c  <left>  <right>  d",
    "ing swinging ing, (ing) the theory,the the ing_ ingé",
    "<｜begin▁of▁sentence｜> <｜User｜>hi <｜end▁of▁sentence｜>",
    "<|begin_of_text|><|eot_id|> \n\n<|end_of_text|>",
    "a-b--c -d- 12-34.,.5,6 x.y z",
    "\x00\x01\x7f\x80 null",
    "x" * 200 + " " * 50 + "y\n" * 20,
    "def f(x):\n    return {'a': [1, 2.5e-3]}  # comment\n",
    WORDS,
]
