"""WordTokenizer and CharTokenizer: golden figures, reference, Hugging Face, errors, files."""

from __future__ import annotations

import copy
import json
import pickle
import random
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import reference_words as reference
from bpe_rs import CharTokenizer, WordTokenizer
from hypothesis import given
from hypothesis import strategies as st

SENTENCE = "I am the first king of england"
FORMS = ("notebook", "standard")


@pytest.fixture(scope="module")
def shakespeare(shared_dir: Path) -> str:
    return (shared_dir / "data" / "tinyshakespeare.txt").read_text()


@pytest.fixture(scope="module")
def notebook(shakespeare: str) -> WordTokenizer:
    return WordTokenizer.train(shakespeare, num_merges=4000)


def quietly(text: str, num_merges: int, form: str) -> WordTokenizer:
    """Train without the warning that a small text has too few merges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        return WordTokenizer.train(text, num_merges, form=form)  # type: ignore[arg-type]


def random_text(rng: random.Random, letters: str, words: int) -> str:
    return " ".join(
        "".join(rng.choice(letters) for _ in range(rng.randint(1, 9))) for _ in range(words)
    )


# ---- the notebooks' figures


def test_golden_figures(notebook: WordTokenizer) -> None:
    assert notebook.vocab_size == 3815
    assert len(notebook.counts) == 3813
    assert notebook.counts["the</w>"] == 5457
    tokens = ["I</w>", "am</w>", "the</w>", "first</w>", "king</w>", "of</w>", "eng", "land</w>"]
    assert notebook.tokens(SENTENCE) == tokens
    assert notebook.encode(SENTENCE) == [3418, 2715, 1876, 623, 1149, 2686, 3371, 1266]
    assert (notebook.id_to_token(0), notebook.id_to_token(1)) == ("</u>", "</p>")


def test_round_trip_of_the_whole_corpus(notebook: WordTokenizer, shakespeare: str) -> None:
    """The notebooks keep only the symbols that the words consist of after the last merge, so a few
    words of the training text cannot be encoded: `q` is no token, but longest-first leaves it over
    in `antique`."""
    ids = notebook.encode(shakespeare)
    assert np.array_equal(notebook.encode_to_numpy(shakespeare), ids)
    assert ids.count(0) == 7
    words = shakespeare.split()
    back = notebook.decode(ids).split()
    assert len(back) == len(words)
    assert all(ours == word or "</u>" in ours for ours, word in zip(back, words, strict=True))
    standard = WordTokenizer.train(shakespeare, form="standard")
    assert standard.decode(standard.encode(shakespeare)) == " ".join(words)


def test_full_stops_double_spaces_and_unknown_characters(notebook: WordTokenizer) -> None:
    assert notebook.decode(notebook.encode("No.  more,\n\tno less.")) == "No. more, no less."
    assert notebook.tokens("kéng é") == ["k", "</u>", "n", "g</w>", "</u>", "</w>"]
    assert notebook.decode(notebook.encode("kéng é of")) == "k</u>ng </u> of"
    # An end of a word that is no token counts as an unknown character.
    assert quietly("ab ab", 9, "notebook").tokens("ab a") == ["ab</w>", "</u>", "</u>"]


# ---- the reference implementation


@pytest.mark.parametrize("form", FORMS)
def test_training_equals_the_reference(form: str) -> None:
    rng = random.Random(5)
    for case in range(150):
        text = random_text(rng, "ab" if case % 2 else "abcdeß", rng.randint(1, 40))
        merges, tokens = reference.train(text, 30, form)
        ours = quietly(text, 30, form)
        assert ours.merges == merges, text
        assert list(ours.vocab)[2:] == tokens, text


@pytest.mark.parametrize("form", FORMS)
def test_training_on_real_text_equals_the_reference(form: str, shakespeare: str) -> None:
    text = shakespeare[:60_000]
    merges, tokens = reference.train(text, 300, form)
    ours = WordTokenizer.train(text, 300, form=form)  # type: ignore[arg-type]
    assert ours.merges == merges
    assert list(ours.vocab)[2:] == tokens


def test_encoding_equals_the_reference(notebook: WordTokenizer, shakespeare: str) -> None:
    tokens = list(notebook.vocab)[2:]
    text = shakespeare[:6000] + " Übermut naïve xqz ]] a.b. -- </w> </u>"
    assert notebook.tokens(text) == reference.encode_longest_first(text, tokens)


@given(st.lists(st.text("abc", min_size=1), min_size=1), st.text("abcd \n"))
def test_encoding_of_any_text_equals_the_reference(words: list[str], text: str) -> None:
    ours = quietly(" ".join(words), 12, "notebook")
    assert ours.tokens(text) == reference.encode_longest_first(text, list(ours.vocab)[2:])


def test_white_space_is_pythons() -> None:
    tokenizer = WordTokenizer.train("ab", num_merges=2)
    for point in range(sys.maxunicode + 1):
        c = chr(point)
        if c.isspace():
            assert tokenizer.encode(f"ab{c}ab") == tokenizer.encode("ab ab"), hex(point)
    assert len(tokenizer.encode("ab\u200bab")) > 2  # zero-width space separates nothing


# ---- the standard form against Hugging Face


def hugging_face(ours: WordTokenizer):
    from tokenizers import Tokenizer, models, pre_tokenizers

    theirs = Tokenizer(
        models.BPE(
            vocab=ours.vocab,
            merges=ours.merges,
            unk_token="</u>",
            end_of_word_suffix="</w>",
            fuse_unk=False,
        )
    )
    theirs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return theirs


def test_standard_form_encodes_as_hugging_face(shakespeare: str) -> None:
    ours = WordTokenizer.train(shakespeare, 2000, form="standard")
    text = shakespeare + " Ünknown charaçters here: zzzz Qq é aaaaaaaaaaaaaaaaaaaa"
    assert ours.encode(text) == hugging_face(ours).encode(text).ids


def test_standard_form_encodes_random_words_as_hugging_face() -> None:
    rng = random.Random(8)
    for _ in range(40):
        ours = quietly(random_text(rng, "abc", 60), 40, "standard")
        text = random_text(rng, "abcd", 200) + " " + "ab" * 500
        assert ours.encode(text) == hugging_face(ours).encode(text).ids


def test_hugging_face_learns_by_the_same_rule(shakespeare: str) -> None:
    """Their ids of `x</w>`, and so their ties, depend on the order of a hash map, which no two runs
    share. So each of their merges need only be one of the most frequent pairs at its turn."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    text = shakespeare[:100_000]
    theirs = Tokenizer(models.BPE(unk_token="</u>", end_of_word_suffix="</w>"))
    theirs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(vocab_size=200, end_of_word_suffix="</w>", show_progress=False)
    theirs.train_from_iterator([text], trainer)
    merges = [tuple(pair) for pair in json.loads(theirs.to_str())["model"]["merges"]]
    assert len(merges) > 80
    words = reference.segmented(text, "standard")
    for merge in merges:
        pairs = reference.count_pairs(words)
        assert pairs[merge] == max(pairs.values()), merge
        words = reference.merge_all(words, merge)
    ours = WordTokenizer.train(text, 20, form="standard")
    assert ours.merges == merges[:20]  # before the first tie


# ---- arguments, files, threads


def test_max_length_pads_and_truncates_only_on_request(notebook: WordTokenizer) -> None:
    ids = notebook.encode(SENTENCE)
    padded, mask = notebook.encode(SENTENCE, max_length=10)
    assert padded == [*ids, 1, 1] and mask == [1] * 8 + [0, 0]
    assert notebook.decode(padded) == SENTENCE
    with pytest.raises(ValueError, match="8 tokens, max_length is 5; pass truncation=True"):
        notebook.encode(SENTENCE, max_length=5)
    assert notebook.encode(SENTENCE, max_length=5, truncation=True) == (ids[:5], [1] * 5)
    assert notebook.encode(SENTENCE, max_length=0, truncation=True) == ([], [])
    with pytest.raises(ValueError, match="needs a max_length"):
        notebook.encode(SENTENCE, truncation=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a max_length"):
        notebook.encode_batch([SENTENCE], truncation=True)
    rows, masks = notebook.encode_batch(["I am", SENTENCE])
    assert [len(row) for row in rows] == [8, 8] and masks[0] == [1, 1, 0, 0, 0, 0, 0, 0]
    assert notebook.encode_batch([]) == ([], [])


@pytest.mark.parametrize("form", FORMS)
def test_files_pickles_and_copies_keep_everything(form: str, tmp_path: Path) -> None:
    ours = quietly("to be or not to be, that </w> is thé question", 30, form)
    path = tmp_path / "words.json"
    ours.save(path)
    pickled = pickle.loads(pickle.dumps(ours))  # noqa: S301
    for other in (WordTokenizer.load(path), pickled, copy.deepcopy(ours)):
        assert other == ours and other.vocab == ours.vocab and other.counts == ours.counts
        assert other.encode("to bet") == ours.encode("to bet")
    assert [p.name for p in tmp_path.iterdir()] == ["words.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a bpe_rs.words file"),
        ("[" * 100_000, "not a bpe_rs.words file"),
        ('{"format": "other"}', "its format says 'other'"),
        ('{"format": "bpe_rs.words", "version": 9}', "version 9 is not known"),
        ('{"format": "bpe_rs.words", "version": 1, "form": "notebook"}', "'tokens' is missing"),
        (
            '{"format": "bpe_rs.words", "version": 1, "form": "x", "tokens": [], "merges": []}',
            "form: expected",
        ),
        (
            '{"format": "bpe_rs.words", "version": 1, "form": "notebook", "merges": [],'
            ' "tokens": [["a", false, 1], ["a", false, 1]]}',
            "listed twice",
        ),
        (
            '{"format": "bpe_rs.words", "version": 1, "form": "standard",'
            ' "tokens": [["a", false, 1]], "merges": [["a", "b", true]]}',
            r"merge 0 \('a', 'b</w>'\) needs the token 'b</w>'",
        ),
        (
            '{"format": "bpe_rs.words", "version": 1, "form": "notebook", "tokens": [3],'
            ' "merges": []}',
            "words.json",
        ),
    ],
)
def test_bad_files_are_named_and_explained(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        WordTokenizer.load(path)
    assert "words.json" in str(caught.value)


def test_training_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="no words"):
        WordTokenizer.train(" \n")
    with pytest.raises(ValueError, match="num_merges >= 0, got -1"):
        WordTokenizer.train("a", -1)
    with pytest.raises(ValueError, match="form: expected 'notebook' or 'standard', got 'other'"):
        WordTokenizer.train("a", 1, form="other")  # type: ignore[arg-type]
    for wrong in (3, b"bytes", ["a", 3]):
        with pytest.raises(TypeError, match="source: expected str"):
            WordTokenizer.train(wrong)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="asked for 9 merges, the text allows 2"):
        WordTokenizer.train("ab", 9)


def test_several_texts_are_one_text_split_at_words() -> None:
    parts = ["the cat", "the hat", "that"]
    assert WordTokenizer.train(" ".join(parts), 5) == WordTokenizer.train(iter(parts), 5)


@pytest.mark.parametrize("ids", [[-1], [10**7], [2**40]])
def test_ids_outside_the_vocabulary_are_errors(ids: list[int]) -> None:
    for tokenizer in (quietly("a b", 2, "notebook"), CharTokenizer.train("ab")):
        with pytest.raises(ValueError, match=f"id {ids[0]} is outside the vocabulary"):
            tokenizer.decode(ids)


@pytest.mark.parametrize("form", FORMS)
def test_a_word_of_a_million_characters(form: str) -> None:
    ours = quietly("a b ab ba aab", 3, form)
    word = "ab" * 500_000
    assert ours.decode(ours.encode(word)) == word


def test_threads_share_a_tokenizer(notebook: WordTokenizer, shakespeare: str) -> None:
    text = shakespeare[:50_000]
    expected = notebook.encode(text)
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(notebook.encode(text))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(ids == expected for ids in results) and len(results) == 4


# ---- characters


def test_characters_of_shakespeare(shakespeare: str, tmp_path: Path) -> None:
    ours = CharTokenizer.train(shakespeare)
    assert ours.vocab_size == 65
    assert ours.symbols == "".join(sorted(set(shakespeare)))
    expected = [ours.symbols.index(c) for c in shakespeare[:2000]]
    assert ours.encode(shakespeare[:2000]) == expected
    assert ours.decode(ours.encode(shakespeare)) == shakespeare
    assert ours.encode_to_numpy(shakespeare).dtype == np.uint32
    ours.save(tmp_path / "chars.json")
    assert CharTokenizer.load(tmp_path / "chars.json") == ours
    assert pickle.loads(pickle.dumps(ours)) == ours  # noqa: S301


@given(st.text(min_size=1), st.text())
def test_any_characters(train: str, text: str) -> None:
    ours = CharTokenizer.train(train, unknown="?")
    assert list(ours.symbols) == sorted(set(train))
    assert all(a < b for a, b in pairwise(ours.symbols))
    expected = [ours.symbols.index(c) if c in train else len(set(train)) for c in text]
    assert ours.encode(text) == expected
    assert ours.decode(expected) == "".join(c if c in train else "?" for c in text)


def test_unknown_characters_are_errors_by_default(tmp_path: Path) -> None:
    ours = CharTokenizer.train(["abc", "bcd"])
    with pytest.raises(ValueError, match=r"'é' \(U\+00E9\) at position 2 .* with an unknown token"):
        ours.encode("abé")
    tolerant = CharTokenizer.train("abc", unknown="</u>")
    assert tolerant.encode("abé") == [0, 1, 3] and tolerant.decode([0, 3]) == "a</u>"
    tolerant.save(tmp_path / "chars.json")
    assert CharTokenizer.load(tmp_path / "chars.json") == tolerant != ours
    with pytest.raises(ValueError, match="at least one"):
        CharTokenizer.train("")
    with pytest.raises(ValueError, match=r"expected a bpe_rs\.words file"):
        WordTokenizer.load(tmp_path / "chars.json")
