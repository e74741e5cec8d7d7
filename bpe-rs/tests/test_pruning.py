"""A vocabulary without its rarest tokens."""

import random

import bpe_rs
import pytest

TEXTS = ["the lower, the lowest and the slowest of all tellers tell lower tales"] * 3


@pytest.fixture(scope="module")
def encoding() -> bpe_rs.Encoding:
    return bpe_rs.train(TEXTS, vocab_size=287, special_tokens=["<|end|>"])


@pytest.mark.parametrize("remove", [0, 1, 7, 20, 30])
def test_what_is_left_keeps_ids_and_can_be_reached(encoding, remove, tmp_path):
    smaller = bpe_rs.prune(encoding, ["the lowest tales"], remove=remove)
    before, after = encoding.mergeable_ranks, smaller.mergeable_ranks
    gone = set(before.values()) - set(after.values())
    assert len(gone) == remove and {**before, **after} == before
    assert smaller.special_tokens == encoding.special_tokens
    assert all(smaller._encode_single_piece(token) == [rank] for token, rank in after.items())
    choose = random.Random(remove)
    unchanged = 0
    for _ in range(300):
        text = "".join(choose.choices(["the", " low", "est", "er", " tell", "s", " a", "ll"], k=5))
        ids = encoding.encode(text)
        assert smaller.decode(smaller.encode(text)) == text
        if not gone & set(ids):
            unchanged += 1
            assert smaller.encode(text) == ids
    assert unchanged == 300 or remove
    smaller.save(tmp_path / "smaller.json")
    again = bpe_rs.Encoding.from_file(tmp_path / "smaller.json")
    assert again.encode(TEXTS[0]) == smaller.encode(TEXTS[0])


def test_the_least_used_go_first_and_parts_after_wholes(encoding):
    # As defined: look at all leaves anew for every token that goes.
    parts = {merged: pair for *pair, merged in encoding._merges}
    uses = dict.fromkeys(encoding.mergeable_ranks.values(), 0)
    for word, often in bpe_rs.count_words(["the slowest teller"]).items():
        for rank in encoding._encode_single_piece(word):
            uses[rank] += often
    expected = []
    for _ in range(25):
        inside = {part for pair in parts.values() for part in pair}
        rank = min((rank for rank in parts if rank not in inside), key=lambda r: (uses[r], -r))
        expected.append(rank)
        for part in parts.pop(rank):
            uses[part] += uses[rank]
    for count in (1, 5, 25):
        smaller = bpe_rs.prune(encoding, ["the slowest teller"], remove=count)
        gone = set(encoding.mergeable_ranks.values()) - set(smaller.mergeable_ranks.values())
        assert gone == set(expected[:count])


def test_pruned_vocabularies_can_be_extended(encoding):
    smaller = bpe_rs.prune(encoding, ["the"], remove=20)
    more = bpe_rs.train(["zyx zyx zyx"], base=smaller, vocab_size=smaller.n_vocab + 2)
    kept = {token: more.mergeable_ranks[token] for token in smaller.mergeable_ranks}
    assert kept == smaller.mergeable_ranks and len(more.encode("zyx")) == 1


def test_wrong_arguments(encoding):
    with pytest.raises(ValueError, match="at most 30, the learned tokens, got 31"):
        bpe_rs.prune(encoding, ["the"], remove=31)
    with pytest.raises(ValueError, match="remove"):
        bpe_rs.prune(encoding, ["the"], remove=-1)
    with pytest.raises(TypeError, match="an Encoding to prune, got str"):
        bpe_rs.prune("gpt2", ["the"], remove=1)  # type: ignore[arg-type]
    counts = bpe_rs.count_words(["the"], pattern="cl100k")
    with pytest.raises(ValueError, match="count again"):
        bpe_rs.prune(encoding, counts, remove=1)
