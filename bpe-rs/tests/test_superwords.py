"""Tokens of several words, against the second stage of SuperBPE written down plainly."""

import itertools
import random
import re
from collections import Counter

import bpe_rs
import pytest

CUT_OUT = re.compile(r"[0-9]{1,3}| ?(?:[^\w\s]|_){2,}[\r\n/]*| +(?!\S)")
"""The authors' pattern, for letters of any script and digits of ASCII."""


def pieces_of(text: str) -> list[str]:
    """The matches of the pattern and what stands between them."""
    pieces, end = [], 0
    for match in CUT_OUT.finditer(text):
        pieces += [text[end : match.start()], match.group()]
        end = match.end()
    return [piece for piece in [*pieces, text[end:]] if piece]


def second_stage(texts: list[str], base: bpe_rs.Encoding, merges: int, words: int) -> list[bytes]:
    """New tokens: the most frequent pair again and again, of equals the smallest ids."""
    tokens = {rank: token for token, rank in base.mergeable_ranks.items()}
    counts = Counter(piece for text in texts for piece in pieces_of(text))
    stretches = [(base._encode_single_piece(piece), often) for piece, often in counts.items()]
    made: list[bytes] = []
    while len(made) < merges:
        pairs: Counter[tuple[int, int]] = Counter()
        for ids, often in stretches:
            for pair in itertools.pairwise(ids):
                pairs[pair] += often
        allowed = {}
        for pair, often in pairs.items():
            token = tokens[pair[0]] + tokens[pair[1]]
            if b": " not in token and len([word for word in token.split(b" ") if word]) <= words:
                allowed[pair] = often
        if not allowed:
            break
        best = min(allowed, key=lambda pair: (-allowed[pair], pair))
        new = base.n_vocab + len(made)
        tokens[new] = tokens[best[0]] + tokens[best[1]]
        made.append(tokens[new])
        for ids, _ in stretches:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [new]
                at += 1
    return made


def new_tokens(encoding: bpe_rs.Encoding, base: bpe_rs.Encoding) -> list[bytes]:
    by_id = sorted((rank, token) for token, rank in encoding.mergeable_ranks.items())
    return [token for rank, token in by_id if rank >= base.n_vocab]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("words", [1, 2, 4])
def test_merges_of_the_recipe(seed, words):
    choose = random.Random(seed)
    parts = ["by", "the", "way", "note:", "on", "12345", "of", "--", ":-)", "a", ".", "\n", "  "]
    texts = [" ".join(choose.choices(parts, k=40)) for _ in range(6)]
    base = bpe_rs.train(texts, vocab_size=270, pattern="o200k")
    encoding = bpe_rs.train_superwords(
        texts, base=base, vocab_size=base.n_vocab + 20, max_token_words=words
    )
    assert new_tokens(encoding, base) == second_stage(texts, base, 20, words)
    for text in texts:
        assert encoding.decode(encoding.encode(text)) == text
    assert {**encoding.mergeable_ranks, **base.mergeable_ranks} == encoding.mergeable_ranks


def test_superwords_shorten_a_text_and_keep_ids(tmp_path):
    text = "on the other hand, by the way, on the other side of the road " * 30
    base = bpe_rs.train([text], vocab_size=280, special_tokens=["<|end|>"])
    encoding = bpe_rs.train_superwords(
        [text], base=base, vocab_size=294, special_tokens=["<|more|>"], name="super"
    )
    assert encoding.name == "super" and encoding.n_vocab == 294
    assert encoding.special_tokens == {"<|end|>": 279, "<|more|>": 293}
    assert len(encoding.encode(text)) < len(base.encode(text)) / 2
    assert any(token.count(b" ") >= 2 for token in encoding.mergeable_ranks)
    for name in ("a.json", "a.tiktoken"):
        encoding.save(tmp_path / name)
    again = bpe_rs.Encoding.from_file(tmp_path / "a.json")
    assert again.encode(text) == encoding.encode(text)
    theirs = pytest.importorskip("tokenizers").Tokenizer.from_file(str(tmp_path / "a.json"))
    for piece in (text, "the way 1234 of: the ...\n\n", "  a  b"):
        assert theirs.encode(piece).ids == encoding.encode(piece)


def merged(piece: str, ranks: dict[bytes, int]) -> list[int]:
    """The ids of a piece: the pair of the lowest rank again and again, the leftmost of equals."""
    parts = [bytes([byte]) for byte in piece.encode()]
    while True:
        pairs = [
            (ranks.get(a + b, len(ranks)), at)
            for at, (a, b) in enumerate(itertools.pairwise(parts))
        ]
        rank, at = min(pairs, default=(len(ranks), 0))
        if rank == len(ranks):
            return [ranks[part] for part in parts]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("pattern", ["superwords", r"[\s\S]+"])
def test_ids_are_those_of_merging_whole_pieces(seed, pattern, tmp_path):
    """Words through a cache, then merged across, give the ids of merging whole pieces."""
    choose = random.Random(seed)
    words = ["by", "the", "they", "way", "note:", "on", "é", "a", "of.", "is,", "is, it", "'s"]
    texts = [" ".join(choose.choices(words, k=60)) for _ in range(8)]
    base = bpe_rs.train(texts, vocab_size=280, pattern="o200k")
    encoding = bpe_rs.train_superwords(
        texts, base=base, vocab_size=base.n_vocab + 12 * (1 + seed), pattern=pattern
    )
    encoding.save(tmp_path / "a.json")
    loaded = bpe_rs.Encoding.from_file(tmp_path / "a.json")
    parts = [
        *words,
        " ",
        "  ",
        "\n",
        " a",
        "by  the",
        "12",
        " the",
        "th",
        "e",
        "1 2345",
        "--",
        "你",
    ]
    new = "".join(choose.choices(parts, k=400))
    joined = " ".join(choose.choices(words, k=300))
    for text in (*texts, new, joined, "by the way " * 100, "a" * 50 + " of the" * 50):
        pieces = [text] if pattern != "superwords" else pieces_of(text)
        expected = [id for piece in pieces for id in merged(piece, encoding.mergeable_ranks)]
        for ours in (encoding, loaded):
            for _ in range(2):  # new, then from the caches
                assert ours.encode_ordinary(text) == expected
            assert ours.count(text, disallowed_special=()) == len(expected)
            assert ours.encode_ordinary_batch([text, text]) == [expected] * 2


def test_wrong_arguments():
    base = bpe_rs.train(["by the way"], vocab_size=258)
    with pytest.raises(TypeError, match="base to be an Encoding, got str"):
        bpe_rs.train_superwords(["a"], base="gpt2", vocab_size=300)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_token_words"):
        bpe_rs.train_superwords(["a"], base=base, vocab_size=300, max_token_words=0)
    with pytest.raises(ValueError, match="pattern"):
        bpe_rs.train_superwords(["a"], base=base, vocab_size=300, pattern="(")
    with pytest.warns(UserWarning, match="of at most 4 words"):
        bpe_rs.train_superwords(["by the way"], base=base, vocab_size=5000)
