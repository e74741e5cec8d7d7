"""Scores of rows."""

from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.data import DataError
from gptpy.data.dataset import IGNORE
from gptpy.data.rows import Row, Rows
from gptpy.devices.processes import World
from gptpy.evaluation.rows import evaluate_rows, exact_share, row_batches
from gptpy.model import build_model

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 16,
    "vocab_size": 30,
    "block_size": 16,
}


def test_exact_share_counts_whole_rows():
    class Parrot(torch.nn.Module):
        """Generates 1 2 3 and then the end, 0, for any source; two rows of four expect that."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def generate(self, ids, count, *, temperature, eos_id, source, source_padding_mask):
            assert temperature == 0 and eos_id == 0 and (ids == 0).all()
            assert source.shape == source_padding_mask.shape
            said = torch.tensor([1, 2, 3] + [0] * 9)[:count]
            return torch.cat((ids, said.expand(len(ids), -1)), 1)

    def row(*targets):
        said = np.array(targets)
        return Row(np.array([0, *targets[:-1]]), said, np.array([5, 0]))

    rows = [row(1, 2, 3, 0), row(1, 2, 0), row(1, 2, 3, 4, 0), row(1, 2, 3, 0)]
    assert exact_share(Parrot(), Rows(rows, 16), 0) == 0.5


def test_rows_without_a_scored_target_are_refused():
    model = build_model(GPTConfig(**SHAPE))
    row = Row(np.arange(3), np.full(3, IGNORE))
    with pytest.raises(DataError, match="no target of the rows is scored"):
        evaluate_rows(model, row_batches(Rows([row], 16), 30))


def test_processes_share_the_batches_and_add_up_to_the_whole():
    from gptpy.evaluation.loss import shared

    class Rank(World):
        """A process that hears what the others found."""

        def sum(self, value, device):
            heard.append(value)
            return value

    model = build_model(GPTConfig(**SHAPE))
    rows = [Row(np.arange(n), np.arange(n) + 1) for n in range(3, 10)]
    batches = [Rows(rows, 16).stack([row]) for row in rows]
    whole = evaluate_rows(model, iter(batches))
    for size in (1, 2, 3, 7, 9):
        parts = []
        for rank in range(size):
            heard = []
            assert len(list(shared(batches, World(rank, size)))) == -(-7 // size)
            try:
                evaluate_rows(model, iter(batches), world=Rank(rank, size))
            except DataError:  # this rank had only a repeated batch
                assert rank >= 7
            parts.append(heard)
        total, right, scored = (sum(part[i] for part in parts) for i in range(3))
        assert scored == whole.tokens and right / scored == pytest.approx(whole.accuracy)
        assert total / scored == pytest.approx(whole.loss, rel=1e-6)


def test_scoring_is_bounded_by_a_number_of_tokens():
    rows = Rows([Row(np.arange(4), np.arange(4)) for _ in range(5)], 16)
    for tokens, expected in ((1, 1), (4, 1), (5, 2), (16, 4), (1000, 5), (None, 5)):
        batches = list(row_batches(rows, 30, tokens))
        assert sum(len(batch.inputs) for batch in batches) == expected
