"""Padded rows: what is scored, and that padding is neither seen nor counted."""

from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.data.dataset import IGNORE
from gptpy.data.rows import Row, Rows, line_rows, pair_rows, windows_of
from gptpy.evaluation.rows import evaluate_rows, row_batches
from gptpy.model import build_model
from gptpy.tokenizer import make_tokenizer, open_tokenizer
from gptpy.tokenizer.opening import reserve

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 16,
    "vocab_size": 30,
    "block_size": 16,
}


@pytest.fixture(scope="module")
def letters():
    return make_tokenizer("characters", lambda: ["abcdefghijklmnopqrstuvwxyz "])


def random_rows(count: int, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, 29, rng.integers(2, 17)) for _ in range(count)]
    return [Row(row[:-1], row[1:]) for row in ids]


@pytest.mark.parametrize(
    ("length", "block", "stride"), [(10, 16, None), (40, 16, None), (40, 8, 3)]
)
def test_windows_score_every_target_once(length, block, stride):
    inputs, targets = np.arange(length), np.arange(1, length + 1)
    scored = []
    for window in windows_of(inputs, targets, block, stride):
        assert len(window.inputs) == len(window.targets) <= block
        kept = window.targets != IGNORE
        assert np.array_equal(window.targets[kept], window.inputs[kept] + 1)
        scored += window.targets[kept].tolist()
    assert scored == targets.tolist()


def test_windows_of_stored_ids():
    stored, signed = (np.arange(40, dtype=dtype) for dtype in (np.uint16, np.int64))
    wanted = list(windows_of(signed, signed, 8, 3))
    for one, two in zip(windows_of(stored, stored, 8, 3), wanted, strict=True):
        assert one.targets.dtype == np.int64 and np.array_equal(one.targets, two.targets)


def test_lines_begin_and_end(letters):
    end = reserve(letters, "decoder", "lines").end
    assert end == letters.n_vocab
    rows = list(line_rows(["ab", "", "c"], letters, 16, end=end))
    assert [row.inputs.tolist() for row in rows] == [[end, 1, 2], [end, 3]]
    assert [row.targets.tolist() for row in rows] == [[1, 2, end], [3, end]]
    pair = next(pair_rows([("ab", "c")], letters, end=end))
    assert pair.source is not None
    assert (pair.source.tolist(), pair.inputs.tolist(), pair.targets.tolist()) == (
        [1, 2, end],
        [end, 3],
        [3, end],
    )
    gpt2 = open_tokenizer("gpt2")
    assert reserve(gpt2, "decoder", "lines").vocab_size == 50257
    found = reserve(gpt2, "encoder", "lines")
    assert (found.end, found.mask, found.vocab_size) == (50256, 50257, 50258)


def test_an_epoch_takes_every_row_once():
    data = Rows(random_rows(37), 16, seed=3)
    for epoch in (0, 1):
        places = data.places(np.arange(37) + 37 * epoch)
        assert sorted(places) == list(range(37))
    assert data.places(np.arange(37)) != data.places(np.arange(37, 74))


def test_padding_is_neither_seen_nor_counted():
    """The loss of a padded batch is that of its rows one by one."""
    for architecture in ("decoder", "encoder"):
        torch.manual_seed(0)
        config = GPTConfig(**SHAPE, architecture=architecture, dropout=0.0, init_std=0.3)
        model = build_model(config).eval()
        rows = random_rows(9)
        data = Rows(rows, 16, key_padding=architecture == "encoder")
        batch = data.stack(rows)
        assert batch.real == sum(len(row.inputs) for row in rows) < batch.inputs.numel()
        _, loss = model(batch.inputs, batch.targets, reduction="sum", **batch.masks())
        alone = 0.0
        for row in rows:
            ids, targets = torch.from_numpy(row.inputs)[None], torch.from_numpy(row.targets)[None]
            alone += model(ids, targets, reduction="sum")[1].item()
        assert loss.item() == pytest.approx(alone, rel=1e-5)
        scored = evaluate_rows(model, row_batches(data, 30))
        assert scored.tokens == batch.tokens
        assert scored.loss == pytest.approx(alone / batch.tokens, rel=1e-5)
        likeliest = model(batch.inputs, **batch.masks())[0].argmax(-1)
        right = (likeliest == batch.targets)[batch.targets != IGNORE].float().mean()
        assert scored.accuracy == pytest.approx(float(right))
