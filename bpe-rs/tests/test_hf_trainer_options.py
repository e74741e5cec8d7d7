"""Every option of `BpeTrainer` against `tokenizers` and against a slow reference.

`tokenizers` numbers characters with an affix in the order of a hash map, and ids decide between
equally frequent pairs. So each engine is compared with the reference for its own order.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pydoc_data.topics import topics
from typing import Any

import hf_cases
import hf_parts
import pytest
import reference_hf_training
import tokenizers
from bpe_rs import hf
from test_hf_training import both, empty

LANGUAGES = [
    "Größe und Übermut tun selten gut, Straße für Straße.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "いろはにほへと ちりぬるを わかよたれそ つねならむ",
    "天地玄黃 宇宙洪荒 日月盈昃 辰宿列張",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "إن شاء الله نلتقي غدا صباحا",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "🎉🎊 👩‍👩‍👧 ½ ﬁne naïve café",
]
TEXTS = [topics["assignment"][:2500], *LANGUAGES * 2]
OPTIONS: dict[str, dict[str, Any]] = {
    "prefix": {"continuing_subword_prefix": "##"},
    "suffix": {"end_of_word_suffix": "</w>"},
    "both": {"continuing_subword_prefix": "@@", "end_of_word_suffix": "</w>"},
    "empty": {"continuing_subword_prefix": "", "end_of_word_suffix": ""},
    "longest": {"max_token_length": 5},
    "longest with suffix": {"max_token_length": 4, "end_of_word_suffix": "</w>"},
    "pairs alone": {"max_token_length": 0},
    "limited": {
        "limit_alphabet": 30,
        "special_tokens": ["<unk>", "Z", "ж"],
        "continuing_subword_prefix": "##",
        "min_frequency": 3,
    },
    "alphabet": {"initial_alphabet": ["Ω", "abc"], "end_of_word_suffix": "¶", "vocab_size": 700},
}


def words_of(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> Counter[str]:
    words: Counter[str] = Counter()
    for text in texts:
        if tokenizer.normalizer is not None:
            text = tokenizer.normalizer.normalize_str(text)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    return words


def order(model: dict[str, Any], words: Counter[str], options: dict[str, Any]) -> list[str]:
    """The characters with an affix in the order of their ids."""
    affixes = [
        options.get(name) or "" for name in ("continuing_subword_prefix", "end_of_word_suffix")
    ]
    found = {form for word in words for form in reference_hf_training.forms(word, *affixes)}
    made = {left + right.removeprefix(affixes[0]) for left, right in model["merges"]}
    found = {form for form in found & set(model["vocab"]) if form not in made and len(form) > 1}
    return sorted(found, key=model["vocab"].__getitem__)


def model_of(tokenizer: Any) -> dict[str, Any]:
    return json.loads(tokenizer.to_str())["model"]


def limit_without_ties(words: Counter[str], most: int) -> int:
    """The greatest limit of the alphabet that leaves no choice between equally frequent ones."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    ordered = [count for _, count in counts.most_common()]
    return max(n for n in range(most + 1) if n == 0 or ordered[n - 1] > ordered[n])


def check(pipeline: str, texts: list[str], options: dict[str, Any]) -> None:
    theirs, ours = both(empty(pipeline))
    words = words_of(theirs, texts)
    settings: dict[str, Any] = {"vocab_size": 400} | options
    if "limit_alphabet" in options:
        settings["limit_alphabet"] = limit_without_ties(words, options["limit_alphabet"])
    theirs.train_from_iterator(
        texts, tokenizers.trainers.BpeTrainer(show_progress=False, **settings)
    )
    ours.train_from_iterator(texts, hf.BpeTrainer(show_progress=False, **settings))
    models = [model_of(theirs), model_of(ours)]
    orders = [order(model, words, options) for model in models]
    for model, affixed in zip(models, orders, strict=True):
        vocab, merges = reference_hf_training.learn(words, affixed, **settings)
        assert model["vocab"] == vocab, options
        assert [tuple(merge) for merge in model["merges"]] == merges, options
    # The same tokens before the first merge, and the same settings.
    assert set(orders[0]) == set(orders[1])
    if not orders[0]:
        assert models[0] == models[1]
    tables = ("vocab", "merges")
    rest = [{key: model[key] for key in model if key not in tables} for model in models]
    assert rest[0] == rest[1]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("pipeline", ["whitespace", "metaspace", "gpt2"])
def test_options(pipeline: str, options: str) -> None:
    check(pipeline, TEXTS, OPTIONS[options])


def test_random_words_and_options() -> None:
    dice = random.Random(11)
    for _ in range(60):
        count = dice.randint(1, 40)
        words = ["".join(dice.choices("abcdé中", k=dice.randint(1, 9))) for _ in range(count)]
        options = {
            "vocab_size": dice.randint(5, 90),
            "min_frequency": dice.randint(0, 3),
            "continuing_subword_prefix": dice.choice([None, "##", "@"]),
            "end_of_word_suffix": dice.choice([None, "</w>", "_"]),
            "max_token_length": dice.choice([None, 0, 2, 3, 4, 6]),
            "special_tokens": dice.choice([[], ["<s>"], ["a", "<unk>"]]),
        }
        given = {name: value for name, value in options.items() if value is not None}
        check("whitespace", [" ".join(words)], given)


def test_order_is_that_of_the_sorted_words() -> None:
    made = []
    for texts in (["ba ab", "c"], ["c", "ab ba"]):
        ours = hf.Tokenizer.from_str(empty("whitespace"))
        ours.train_from_iterator(texts, hf.BpeTrainer(vocab_size=0, end_of_word_suffix="$"))
        made.append(model_of(ours)["vocab"])
    assert made[0] == made[1] == {"a": 0, "b": 1, "c": 2, "b$": 3, "a$": 4, "c$": 5}


@pytest.mark.parametrize("size", [300, 420, 900])
@pytest.mark.parametrize("normalized", [True, False])
def test_llama_2_shape(normalized: bool, size: int) -> None:
    """Byte fallback, spaces as marks: the tokens of bytes come before the alphabet."""
    file = hf_parts.build("mark", model={"byte_fallback": True, "unk_token": "<unk>"})
    if normalized:
        file["normalizer"] = hf_parts.normalizer_sequence(hf_parts.PREPEND, hf_parts.SPACE_TO_MARK)
    else:
        file["pre_tokenizer"] = hf_parts.metaspace("first", True)
    theirs, ours = both(json.dumps(file))
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<unk>", "<s>", "</s>", *hf_parts.BYTES],
        max_token_length=16,
        show_progress=False,
    )
    for tokenizer in (theirs, ours):
        tokenizer.train_from_iterator(TEXTS, trainer)
    assert model_of(ours) == model_of(theirs)
    for text in [*TEXTS, *hf_cases.TEXTS]:
        assert ours.encode(text).ids == theirs.encode(text).ids


def test_two_ways_to_one_token_are_refused() -> None:
    ours = hf.Tokenizer.from_str(empty("whitespace"))
    with pytest.raises(ValueError, match="choose another affix"):
        ours.train_from_iterator(["axb axc a"], hf.BpeTrainer(end_of_word_suffix="x"))
    with pytest.raises(TypeError, match="WordPieceTrainer"):
        ours.train_from_iterator(["a"], tokenizers.trainers.WordPieceTrainer())
