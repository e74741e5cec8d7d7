"""The texts of `benches/hf.py`: new ones are new."""

import importlib
import itertools
from pathlib import Path

import pytest


@pytest.fixture
def hf(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benches"))
    return importlib.import_module("hf")


def numbers(count):
    """A text in which no two places are alike."""
    return "".join(f"{number:05d}" for number in range(count))


@pytest.mark.parametrize("size", [200, 4096, 20_000])
def test_a_corpus_that_begins_again_gives_no_text_twice(hf, size):
    case = hf.Case(numbers(10_000), size, 100_000, 8, 1, 3)  # sixteen times around
    texts = case.texts
    assert len(texts) == 8 * case.count == 8 * (100_000 // size)
    assert len(set(texts)) == len(texts) and {len(text) for text in texts} == {size}
    assert case.megabytes(3) == pytest.approx(case.count * size / 1e6)


def test_sizes_of_a_long_corpus_share_no_stretch(hf):
    corpus = numbers(60_000)
    stretches = []
    for number, size in enumerate([200, 4096, 30_000]):
        texts = hf.Case(corpus, size, 30_000, 3, number, 3).texts
        assert "".join(texts) in corpus
        stretches.append((corpus.index(texts[0]), corpus.index(texts[-1]) + size))
    for (_, end), (start, _) in itertools.pairwise(stretches):
        assert end <= start
