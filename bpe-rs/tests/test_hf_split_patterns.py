"""Splits by patterns that match nothing, or regardless of case: as Hugging Face's engine cuts."""

import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from bpe_rs import Encoding, hf

BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
MATCH_NOTHING = [
    r"\b",
    r"(?=(\d{3})+(?!\d))",
    r"(?<=[a-z])(?=[A-Z])",
    r"x*",
    "",
    r"a|",
    r"(?=b)|b",
    r"(?!a)",
    r"\d*?",
    r"(?:a|b*)*",
    r"(?i)x*|s",
    r"(?>a*)(?=b)",
    r"(?<=\s)|\p{Lu}",
    r"\z|\A",
    r"\p{Lu}?(?=\p{Ll})",
    r"^",
    r"$",
    r"\Z",
    r"^a*$|b$",
    r"(?x) ^ # a comment\n | \Z",
    r"a{,2}",
    r"a{2}?",
]
OTHERS = [
    r"(?i:s|k)",
    r"(?i)[k-t]+",
    r"(?i:'s)|\p{Lu}",
    r"(?i)\p{Lu}",
    r"(?i)[^\p{Lu}]",
    r"\<|\>",
    r"[]a]",
    r"a{1,2}?",
    r"(?i)é",
    r"\w+|[^\w\s]+",
    r"\W",
    r"[\w-]+",
    r"[^\W\d]",
    r"\bx|a\B",
    r"\h+",
    r"[\H\n]",
    r"\R",
    r"[[:alpha:]]+|[[:^alnum:][:digit:]]",
    r"[[:punct:]]|[[:word:]]",
    r"[[:print:]]+",
    r"[\p{L}&&[^\p{Han}]]+",
    r"[^a-z&&[^x]]",
    r"\d{1,3}+",
    r"(?:a|x){1,2}+|[ab]{2}+",
    r"^▁+$",
    r"^a|[^\n]$",
    r"a$\n^b",
    r"(?m:a.)|(?-m)b.",
    r"a(?i)b|s",
    r"((?i)b|(?-i)a)x",
    r"(?#a comment)a(?#another)+",
    r"(\w)\1+",
    r"(?<letter>[ab])\k<letter>|(?'x'x)",
    r"a++b|x?+x",
    r"(?>a+|ab)x",
    r"(?<=a|bx)\w",
    r"(?i)[\w]x",
    r"(?i)[ßa]x|(?i)[à-ÿ]",
    r"(?i)[\p{Lu}]{2}",
    r"\p{^L}|\N{2}",
    r"\p{Word}+",
    r"\P{word}|\p{^Word}x",
    r"[\p{Graph}&&[^a]]x|(?i)\p{Word}b",
    r"[^\p{Word}\p{XDigit}]+",
    r"\P{Print}|\p{xdigit}+",
    r"[a~~b]|[\b]",
]
REFUSED = [
    r"\X",
    r"\K",
    r"\G",
    r"(?i)[\W]",
    r"(?i)[a&&[^b]]",
    r"[[:sideways:]]",
    r"(?i)ß",
    r"(?i:st)",
    r"(?i)(a)\1",
    r"(?<=a+)b",
    r"^*a",
    r"(?:a|b*){2}",
    r"(?i)[\P{Word}]",
    r"\p{Wo_rd}",
    r"(?i:ᾳ)",
    r"(?~ab)",
]


def file(pattern: dict[str, str], behavior: str, invert: bool) -> str:
    vocab = {
        token: i for i, token in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    }
    split = {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    steps = [split, byte_level | {"use_regex": False}]
    return json.dumps(
        {
            "version": "1.0",
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
            "model": {"type": "BPE", "vocab": vocab, "merges": []},
        }
    )


def texts(seed: str, count: int) -> list[str]:
    dice = random.Random(seed)
    letters = "aabbxxAB  \n\r\u20281234567é<>ſKßsSk'日\u0301.-²½\u200d_"
    made = ["".join(dice.choices(letters, k=dice.randrange(14))) for _ in range(count)]
    return ["", " iPhone", "sold 1234567 units", *made]


@pytest.mark.parametrize("behavior", BEHAVIORS)
@pytest.mark.parametrize("pattern", [*MATCH_NOTHING, *OTHERS])
def test_every_behavior_cuts_alike(pattern: str, behavior: str) -> None:
    for invert in (False, True):
        text = file({"Regex": pattern}, behavior, invert)
        ours, theirs = hf.Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text)
        for sample in texts(pattern, 60):
            got, want = ours.encode(sample), theirs.encode(sample)
            assert got.ids == want.ids, sample
            assert got.offsets == want.offsets, sample
            assert got.word_ids == want.word_ids, sample


ATOMS = [
    *["a", "b", "s", "K", "\n", r"\n", ".", "[ab]", "[^a]", r"\w", r"\W", r"[\w]", "ß", "[ß]", "é"],
    *[r"\p{L}", r"[\p{Lu}]", "[a-k]", "[[:alpha:]]", "▁", r"\R", r"\N", "{", "[a~~b]", r"\p{^L}"],
]
ANCHORS = ["^", "$", r"\A", r"\z", r"\Z", r"\b", r"\B"]
SETTINGS = ["(?i)", "(?m)", "(?x)", "(?-i)", "(?im)", "(?#x)", r"\1", r"\k<n>"]
GROUPS = ["(", "(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?m:", "(?x:", "(?<n>"]
REPEATS = [
    "*",
    "+",
    "?",
    "*?",
    "+?",
    "*+",
    "++",
    "{2}",
    "{1,2}",
    "{,2}",
    "{1,2}?",
    "{2}?",
    "{1,2}+",
]


def random_pattern(dice: random.Random, depth: int = 0) -> str:
    """Alternatives of one to three parts: characters, anchors, settings, groups, some repeated."""

    def part() -> str:
        kind = dice.random()
        if 0.55 < kind < 0.75:
            return dice.choice(ANCHORS)
        if 0.75 < kind < 0.8:
            return dice.choice(SETTINGS)
        made = dice.choice(ATOMS)
        if kind > 0.8 and depth < 2:
            made = f"{dice.choice(GROUPS)}{random_pattern(dice, depth + 1)})"
        return made + (dice.choice(REPEATS) if dice.random() < 0.35 else "")

    def parts() -> str:
        return "".join(part() for _ in range(dice.randrange(1, 4)))

    return "|".join(parts() for _ in range(dice.choice([1, 1, 2])))


def test_random_patterns_cut_alike_or_are_refused() -> None:
    """On all texts of up to three of three characters, and some longer ones."""
    dice = random.Random(7)
    every = ["".join(t) for n in range(4) for t in itertools.product("aB\n", repeat=n)]
    longer = ["".join(dice.choices("abKsSſß\n\n é▁1", k=dice.randrange(4, 9))) for _ in range(30)]
    tokenizer: Any = hf.Tokenizer.from_str(file({"String": "a"}, "Isolated", False))
    compared = 0
    for _ in range(int(os.environ.get("BPE_RS_PATTERNS", "600"))):
        pattern = random_pattern(dice)
        try:
            theirs = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
            split: Any = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
            tokenizer.pre_tokenizer = split
        except Exception:
            continue
        compared += 1
        for text in every + longer:
            want = theirs.pre_tokenize_str(text)
            assert tokenizer.pre_tokenizer.pre_tokenize_str(text) == want, (pattern, text)
    assert compared > 200


@pytest.mark.parametrize(
    "pattern", [r"(?i)[\w]", r"(?i)[\p{Lu}]", r"(?i)[à-ÿ]", r"(?i)[^\p{Ll}\d]"]
)
def test_folded_classes_have_the_same_characters(pattern: str) -> None:
    tokenizer: Any = hf.Tokenizer.from_str(file({"String": "a"}, "Removed", False))
    theirs = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed")
    split: Any = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed"}
    tokenizer.pre_tokenizer = split
    letters = (chr(code) for code in range(0x20, 0x20000) if not 0xD800 <= code < 0xE000)
    text = "\n".join(letters)
    assert tokenizer.pre_tokenizer.pre_tokenize_str(text) == theirs.pre_tokenize_str(text)


@pytest.mark.parametrize("string", ["", "a", "a.b", "<", "\\d", "-"])
def test_splits_by_a_string(string: str) -> None:
    for behavior in BEHAVIORS:
        text = file({"String": string}, behavior, False)
        ours, theirs = hf.Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text)
        for sample in texts(string, 30):
            assert ours.encode(sample).word_ids == theirs.encode(sample).word_ids, sample


@pytest.mark.parametrize("pattern", [*MATCH_NOTHING, *OTHERS])
def test_an_encoding_keeps_all_text_or_refuses(tmp_path: Path, pattern: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(file({"Regex": pattern}, "Isolated", False))
    theirs = tokenizers.Tokenizer.from_file(str(path))
    if pattern in MATCH_NOTHING:
        with pytest.raises(ValueError, match="match nothing"):
            Encoding.from_file(path)
        return
    ours = Encoding.from_file(path)
    for sample in texts(pattern, 60):
        assert ours.encode_ordinary(sample) == theirs.encode(sample).ids
        assert ours.decode(ours.encode_ordinary(sample)) == sample


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_the_engines_read_differently_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="read alike"):
        hf.Tokenizer.from_str(file({"Regex": pattern}, "Isolated", False))
