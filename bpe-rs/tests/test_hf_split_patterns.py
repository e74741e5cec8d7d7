"""Splits by patterns that match nothing, or regardless of case: as Hugging Face's engine cuts."""

import json
import random
from pathlib import Path

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
]
REFUSED = [
    r"\X",
    r"(?i)[\w]",
    r"[[:sideways:]]",
    r"(?i)ß",
    r"(?i:st)",
    r"(?i)[à-ÿ]",
    r"a(?i)b|c",
    r"a{2}?",
    r"\p{Word}",
    r"(?i:ᾳ)",
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
