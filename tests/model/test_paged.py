"""The pass over blocks against the plain network, for every kind of positions and attention."""

import random
from itertools import pairwise

import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.model import build_model, paged, plain_formulas
from gptpy.model.paged import Chunk, PagedKeysValues, PagedStep, paged_hidden_states

SHAPES = {
    "learned": {},
    "sinusoidal": {"position": "sinusoidal", "scale_embedding": True},
    "rope": {"position": "rope", "n_kv_head": 2, "qk_norm": True, "norm": "rmsnorm"},
    "swiglu": {"position": "rope", "activation": "swiglu", "bias": False, "tied_head": False},
    "windows": {"position": "rope", "window": 20, "full_attention_every": 2},
    "softcap": {"position": "rope", "attention_softcap": 5.0, "logit_softcap": 3.0},
    "alibi": {"position": "alibi", "n_kv_head": 1, "window": 33},
    "none": {"position": "none", "n_layer": 1},
}
V, T = 61, 420  # sums over more than 384 keys are where MKL changes its order


pytestmark = pytest.mark.usefixtures("one_thread")


def network(**overrides):
    torch.manual_seed(1)
    shape = {"vocab_size": V, "block_size": T, "n_layer": 2, "n_head": 4, "n_embd": 32}
    model = build_model(GPTConfig(**{**shape, **overrides})).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    return model


def head(model, hidden):
    weight = model.token_embedding.weight if model.head is None else model.head.weight
    return model.head_loss.logits(hidden, weight)


@pytest.mark.parametrize("name", SHAPES)
@torch.inference_mode()
def test_parts_of_any_size_beside_anything_give_the_same_bits(name):
    model = network(**SHAPES[name])
    ids = torch.randint(V, (2, T))
    with plain_formulas(model):
        expected = model(ids)[0]
    # Not side by side in memory for the first sequence, side by side for the second.
    needed = -(-T // 16)
    tables = [random.Random(0).sample(range(1, 40), needed), list(range(50, 50 + needed))]
    cache = PagedKeysValues(model.config, 100, 16)
    whole = [Chunk(ids[row].tolist(), 0, tables[row]) for row in range(2)]
    step = PagedStep(model.config, cache, whole, row_floor=16, query_floor=16)
    found = head(model, paged_hidden_states(model, step)).view(2, T, V)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    draw = random.Random(3)
    again, done = torch.zeros_like(found), [0, 0]
    cache = PagedKeysValues(model.config, 100, 16)
    while min(done) < T:
        chunks, places = [], []
        for row in range(2):
            count = min(T - done[row], draw.choice([0, 1, 1, 2, 15, 70, 140]))
            if count:
                end = done[row] + count
                table = tables[row][: -(-end // 16)]
                chunks.append(Chunk(ids[row, done[row] : end].tolist(), done[row], table))
                places.append((row, done[row], end))
                done[row] = end
        if chunks:
            step = PagedStep(model.config, cache, chunks, row_floor=16, query_floor=16)
            logits = head(model, paged_hidden_states(model, step))
            for (row, start, end), offset in zip(places, step.offsets[:-1], strict=True):
                again[row, start:end] = logits[offset : offset + end - start]
    assert torch.equal(again, found)


@torch.inference_mode()
def test_positions_beyond_the_tables_continue_the_rotation():
    model = network(position="rope", window=8)
    ids = torch.randint(V, (1, 60)).tolist()[0]
    expected = None
    for start in (0, T - 30):  # the second ends beyond block_size
        cache = PagedKeysValues(model.config, 60, 16)
        blocks = list(range(1, 59))
        chunk = Chunk(ids, start, blocks)
        step = PagedStep(model.config, cache, [chunk], row_floor=16, query_floor=16)
        found = paged_hidden_states(model, step)[20:60]  # whose windows lie inside
        if expected is not None:
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        expected = found


@pytest.mark.parametrize("name", SHAPES)
@torch.inference_mode()
def test_torchs_fused_attention_is_near(name):
    """In bfloat16: sequences of different lengths together, whose keys lie here and there."""
    model = network(**SHAPES[name]).bfloat16()
    texts = [torch.randint(V, (length,)).tolist() for length in (20, 37, 150)]
    cache = PagedKeysValues(model.config, 60, 16, dtype=torch.bfloat16)
    tables = [list(range(1 + n, 60, 3)) for n in range(3)]
    chunks = [Chunk(ids[:-1], 0, table) for ids, table in zip(texts, tables, strict=True)]
    paged_hidden_states(model, PagedStep(model.config, cache, chunks))
    last = [
        Chunk(ids[-1:], len(ids) - 1, table[: -(-len(ids) // 16)])
        for ids, table in zip(texts, tables, strict=True)
    ]
    found = head(model, paged_hidden_states(model, PagedStep(model.config, cache, last)))
    for row, ids in zip(found, texts, strict=True):
        expected = model(torch.tensor([ids]), last_only=True)[0][0, 0]
        torch.testing.assert_close(row.float(), expected.float(), rtol=0.05, atol=0.15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
@torch.inference_mode()
def test_keys_that_lie_side_by_side_are_read_where_they_are(name, dtype, monkeypatch):
    """A text from its beginning, in two parts, and single tokens, beside a text in pieces."""
    monkeypatch.setattr(paged, "DIRECT_BYTES", 1)
    model = network(**SHAPES[name])
    texts = [torch.randint(V, (length,)).tolist() for length in (40, 65, 150)]
    tables = [list(range(1, 11)), list(range(11, 21)), list(range(21, 61, 3))]
    cache = PagedKeysValues(model.config, 64, 16, dtype=dtype)
    found: list[list] = [[], [], []]
    used = 0
    for begin, end in ((0, -20), (-20, -12), (-12, -11), (-11, -10), (-10, -9)):
        chunks = []
        for text, table in zip(texts, tables, strict=True):
            start, stop = len(text) + begin if begin else 0, len(text) + end
            chunks.append(Chunk(text[start:stop], start, table[: -(-stop // 16)]))
        step = PagedStep(model.config, cache, chunks)
        used += len(step.direct)
        logits = head(model, paged_hidden_states(model, step))
        for n, (a, b) in enumerate(pairwise(step.offsets)):
            found[n] += logits[a:b]
    usable = "softcap" not in name and "alibi" not in name
    windowed = model.config.window is not None
    assert used == (0 if not usable else 6 if windowed else 8)
    near = 1e-3 if dtype == torch.float32 else 0.1
    with plain_formulas(model):
        for text, rows in zip(texts, found, strict=True):
            expected = model(torch.tensor([text[:-9]]))[0][0]
            torch.testing.assert_close(torch.stack(rows), expected, rtol=near, atol=near)


def test_blocks_are_copied_and_cleared():
    cache = PagedKeysValues(network().config, 5, 4)
    cache.keys[:, :, 2] = 3.0
    cache.values[:, :, 2] = torch.nan
    cache.copy(2, 4)
    assert bool((cache.keys[:, :, 4] == 3).all()) and bool(cache.values[:, :, 4].isnan().all())
    cache.zero([2, 4])
    assert not cache.keys.any() and not cache.values.any()
