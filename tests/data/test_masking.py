"""Masked tokens: which ones follows from the sample's number alone."""

import numpy as np
import torch

from gptpy.data.dataset import IGNORE, Dataset
from gptpy.data.rows import Masked, Row, Rows


def random_rows(count: int, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, 29, rng.integers(2, 17)) for _ in range(count)]
    return [Row(row[:-1], row[1:]) for row in ids]


def test_masks_depend_on_the_sample_alone():
    data = Masked(Rows(random_rows(50), 16, seed=1, key_padding=True), 29, 29, 0.3)
    together = data.batch(np.arange(12))
    for sample in (0, 5, 11):
        alone = data.batch(np.array([sample]))
        length = int(alone.extra["key_padding_mask"].sum())
        assert torch.equal(together.inputs[sample, :length], alone.inputs[0, :length])
        assert torch.equal(together.targets[sample, :length], alone.targets[0, :length])
    assert not torch.equal(together.targets, data.batch(np.arange(50, 62)).targets)
    real = together.extra["key_padding_mask"]
    assert (together.targets[~real] == IGNORE).all() and not (together.inputs[~real] == 29).any()
    original = data.data.batch(np.arange(12)).inputs
    hidden = together.targets != IGNORE
    assert torch.equal(together.targets[hidden], original[hidden])
    assert torch.equal(together.inputs[~hidden], original[~hidden])
    packed = Dataset([np.arange(500) % 29], 16, end_of_text=0, document_mask=True)
    stream = Masked(packed, 29, 29, 0.3).batch(np.arange(4))
    assert (stream.inputs == 29).any()
    documents = packed.batch(np.arange(4)).documents
    assert documents is not None and stream.documents is not None
    assert torch.equal(stream.documents, documents), "attention stays inside a document"
