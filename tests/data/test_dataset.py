"""Windows: each once an epoch, the same for any number of processes, across shards."""

import numpy as np
import pytest

from gptpy.data import DataError, Dataset
from gptpy.data.dataset import draw, permute


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097])
def test_a_permutation_visits_everything_once(n: int):
    order = permute(np.arange(n), n, seed=3, epoch=1)
    assert sorted(order.tolist()) == list(range(n))


def test_permutations_differ_and_need_no_history():
    n = 10_000
    first = permute(np.arange(n), n, seed=0, epoch=0)
    assert (first != permute(np.arange(n), n, seed=0, epoch=1)).mean() > 0.99
    assert (first != permute(np.arange(n), n, seed=1, epoch=0)).mean() > 0.99
    at = np.array([17, 9999, 5000])
    assert permute(at, n, seed=0, epoch=0).tolist() == first[at].tolist()
    # Neighbours do not stay together, and no half is preferred
    assert (np.abs(np.diff(first)) == 1).mean() < 0.01
    assert abs(first[: n // 2].mean() - n / 2) < n / 50


def test_permute_refuses_places_outside():
    with pytest.raises(ValueError, match=r"0\.\.4"):
        permute(np.array([5]), 5, 0, 0)
    with pytest.raises(ValueError, match="n >= 1"):
        permute(np.array([0]), 0, 0, 0)


def test_draw_depends_on_every_part():
    keys = [(0, 0), (0, 1), (1, 0), (0,), (0, 0, 0), (-1, 0)]
    assert len({draw(*key) for key in keys}) == len(keys)


def make(n: int = 1000, block: int = 16, **options) -> Dataset:
    ids = np.arange(n, dtype=np.uint16)
    return Dataset([ids[:300], ids[300:301], ids[301:]], block, **options)


def test_an_epoch_takes_every_window_once():
    data = make()
    for epoch in range(3):
        numbers = np.arange(data.n_windows) + epoch * data.n_windows
        starts = data.window_starts(numbers)
        assert len(set(starts.tolist())) == data.n_windows
        assert len({int(s) % 16 for s in starts}) == 1, "one border offset an epoch"
        assert starts.min() >= 0 and starts.max() + 17 <= data.n_ids
    offsets = {int(data.window_starts(np.array([e * data.n_windows]))[0]) % 16 for e in range(8)}
    assert len(offsets) > 1, "borders move from epoch to epoch"


def test_targets_follow_inputs_across_shards():
    data = make()
    batch = data.batch(np.arange(data.n_windows))
    assert (batch.inputs[:, 1:] == batch.targets[:, :-1]).all()
    assert (batch.targets == batch.inputs + 1).all()
    assert batch.tokens == data.n_windows * 16


def test_a_sample_depends_on_its_number_only():
    data = make()
    together = data.batch(np.arange(40, 48)).inputs
    apart = [data.batch(np.arange(40 + r, 48, 2)).inputs for r in range(2)]
    assert (together[0::2] == apart[0]).all() and (together[1::2] == apart[1]).all()
    assert (make(seed=1).batch(np.arange(40, 48)).inputs != together).any()


def test_lengths_are_drawn_per_step():
    data = make(min_length=4)
    lengths = {data.batch(np.arange(4), length_key=step).inputs.shape[1] for step in range(300)}
    assert lengths == set(range(4, 17))
    one, other = (data.batch(np.arange(4), length_key=9).inputs for _ in range(2))
    assert (one == other).all()


def test_documents_begin_at_end_of_text():
    ids = np.array([0, 5, 6, 0, 7, 8, 9, 0, 1, 2, 3, 4] * 10, np.uint16)
    data = Dataset([ids], 12, end_of_text=0, document_mask=True)
    batch = data.batch(np.arange(3))
    assert batch.documents is not None
    offsets = batch.masks()["cu_seqlens"].tolist()
    flat = batch.inputs.flatten().tolist()
    begins = (i for i, token in enumerate(flat) if token == 0)
    expected = [*sorted({0, 12, 24, *begins}), 36]
    assert offsets == expected
    assert make().batch(np.arange(2)).masks() == {}


def test_impossible_settings_are_refused():
    with pytest.raises(DataError, match="16 ids are too few for a context of 16: at least 17"):
        Dataset([np.arange(16)], 16)
    with pytest.raises(DataError, match="end-of-text"):
        make(document_mask=True)
    with pytest.raises(DataError, match=r"min_length must lie in 1\.\.16"):
        make(min_length=17)


@pytest.mark.parametrize(
    ("n", "block"),
    [(190, 64), (3000, 1024), (129, 64), (128, 64), (17, 16), (1000, 16), (2097, 16)],
)
def test_over_the_epochs_every_id_is_a_target(n, block):
    data = Dataset([np.arange(n)], block, seed=1)
    spare, many = (n - 1) % block, (n - 1) // block > 64
    covered, left_out = [], set()
    for epoch in range(12):
        batch = data.batch(np.arange(data.n_windows) + epoch * data.n_windows)
        targets = batch.targets.flatten().tolist()
        assert len(set(targets)) == len(targets) == data.n_windows * block
        missing = sorted(set(range(1, n)) - set(targets))
        # Of many windows one is left out, so that window borders fall everywhere
        assert len(missing) == spare + block * many
        covered.append(set(targets))
        left_out.add(tuple(missing))
    for epoch in range(8):
        assert set().union(*covered[epoch : epoch + 4]) == set(range(1, n))
    assert len(left_out) > min(spare + block * many, 3), "what is left out moves"


def test_a_run_of_an_older_version_goes_on_with_its_windows():
    """Its checkpoints hold no fingerprint; these are the windows that it had."""
    data = make()
    new = data.window_starts(np.arange(200))
    data.go_on_as(None)
    assert data.n_windows == 61
    assert data.window_starts(np.arange(5)).tolist() == [462, 110, 478, 254, 318]
    assert data.fingerprint.startswith("1-")
    other = make()
    other.go_on_as(data.fingerprint)
    assert (other.window_starts(np.arange(200)) == data.window_starts(np.arange(200))).all()
    other.go_on_as(make().fingerprint)
    assert (other.window_starts(np.arange(200)) == new).all()
    with pytest.raises(DataError, match="too few"):
        Dataset([np.arange(20)], 16).go_on_as(None)


def test_data_are_known_by_their_ids(monkeypatch):
    ids = np.arange(1000) % 97
    whole = Dataset([ids], 16).fingerprint
    assert (
        whole == Dataset([ids[:10].astype(np.uint16), ids[10:].astype(np.uint32)], 16).fingerprint
    )
    changed = ids.copy()
    changed[500] += 1
    assert Dataset([changed], 16).fingerprint != whole
    assert Dataset([ids[:-1]], 16).fingerprint != whole
    # Of very many ids only blocks are read
    monkeypatch.setattr("gptpy.data.ids.DIGEST_BLOCK", 8)
    monkeypatch.setattr("gptpy.data.ids.DIGEST_BLOCKS", 4)
    sampled = Dataset([ids], 16).fingerprint
    assert sampled == Dataset([ids[:333], ids[333:]], 16).fingerprint != whole
    assert Dataset([ids[::-1]], 16).fingerprint != sampled
