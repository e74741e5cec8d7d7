"""Sampling and generation, with a model whose next token is known."""

import math
from typing import Any

import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.model import GPT, Bigram
from gptpy.model.sampling import generate, sample


def trained_bigram(pairs: dict[int, int], vocab_size=8):
    """A model that continues `a` with `pairs[a]`, nearly surely."""
    model = Bigram(GPTConfig.preset("bigram", vocab_size=vocab_size, block_size=4))
    model.token_embedding.weight.data.zero_()
    for a, b in pairs.items():
        model.token_embedding.weight.data[a, b] = 50.0
    return model


def random_gpt(**settings):
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 61, "block_size": 16}
    config = GPTConfig.preset("modern-1m", init_residual="normal", init_head="normal")
    return GPT(config.replace(**{**shape, "init_std": 0.2, **settings}))


def test_greedy_follows_the_table_and_stops_at_eos():
    model = trained_bigram({1: 2, 2: 3, 3: 4, 4: 1})
    start = torch.tensor([[1], [3]])
    assert generate(model, start, 5, temperature=0).tolist() == [
        [1, 2, 3, 4, 1, 2],
        [3, 4, 1, 2, 3, 4],
    ]
    assert generate(model, start, 5, temperature=0, eos_id=4).tolist() == [
        [1, 2, 3, 4],
        [3, 4, 4, 4],
    ]
    assert generate(model, start, 0).tolist() == start.tolist()


def test_mode_is_restored():
    model = trained_bigram({1: 2})
    model.train()
    generate(model, torch.tensor([[1]]), 1)
    assert model.training


@pytest.mark.parametrize("settings", [{}, {"n_kv_head": 2}, {"position": "learned"}])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_cache_changes_nothing_even_beyond_the_block_size(settings, temperature):
    model = random_gpt(**settings)
    ids = torch.tensor([[5, 6, 7], [1, 2, 3]])
    runs = [
        generate(model, ids, 24, temperature=temperature, seed=3, use_cache=use_cache)
        for use_cache in (True, False)
    ]
    assert runs[0].shape == (2, 27)
    assert torch.equal(*runs)
    assert len(set(runs[0][0].tolist())) > 3  # not a constant


def test_long_prompts_are_cropped_to_the_last_block():
    model = random_gpt()
    ids = torch.randint(61, (1, 40), generator=torch.Generator().manual_seed(0))
    whole = generate(model, ids, 4, temperature=0)
    cropped = generate(model, ids[:, -16:], 4, temperature=0)
    assert whole[0, 40:].tolist() == cropped[0, 16:].tolist()


def test_seed_repeats_and_differs():
    model = random_gpt()
    ids = torch.tensor([[5]])
    first, again, other = (generate(model, ids, 12, seed=s).tolist() for s in (1, 1, 2))
    assert first == again != other


def drawn(logits, n=4000, **settings):
    """The ids that `sample` draws, and how often."""
    generator = torch.Generator().manual_seed(0)
    ids = sample(torch.tensor([logits]).expand(n, -1), generator=generator, **settings)
    return {i: c / n for i, c in enumerate(ids.bincount(minlength=len(logits)).tolist()) if c}


def test_sampling_keeps_what_it_should():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist()
    everything = drawn(logits)
    assert everything == pytest.approx({0: 0.5, 1: 0.3, 2: 0.15, 3: 0.05}, abs=0.03)
    assert drawn(logits, temperature=0) == {0: 1.0}
    assert drawn(logits, top_k=1) == {0: 1.0}
    assert drawn(logits, top_k=2) == pytest.approx({0: 0.625, 1: 0.375}, abs=0.03)
    assert set(drawn(logits, top_k=99)) == {0, 1, 2, 3}
    assert set(drawn(logits, top_p=0.49)) == {0}
    assert set(drawn(logits, top_p=0.51)) == {0, 1}
    assert set(drawn(logits, top_p=0.81)) == {0, 1, 2}
    assert set(drawn(logits, top_p=1e-9)) == {0}
    assert set(drawn(logits, min_p=0.2)) == {0, 1, 2}
    assert set(drawn(logits, min_p=1.0)) == {0}
    cold = torch.tensor([0.5, 0.3, 0.15, 0.05]).pow(2)
    expected = dict(enumerate((cold / cold.sum()).tolist()))
    assert drawn(logits, temperature=0.5) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature: expected a number >= 0"),
        ({"top_k": 0}, "top_k: expected an integer >= 1"),
        ({"top_p": 0.0}, "top_p: expected a number in"),
        ({"min_p": 1.5}, "min_p: expected a number in"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        generate(trained_bigram({}), torch.tensor([[1]]), 1, **settings)


def test_prompts_that_cannot_be():
    model = trained_bigram({})
    with pytest.raises(ValueError, match=r"0 to 7 .* got 8 to 8"):
        generate(model, torch.tensor([[8]]), 1)
    with pytest.raises(ValueError, match="empty prompt"):
        generate(model, torch.zeros(1, 0, dtype=torch.int64), 1)


@pytest.mark.parametrize("temperature", [1e-40, 1e-320, 1e-12, 1e-7])
def test_tiny_temperatures_are_greedy(temperature):
    logits = torch.tensor([[1.0, 3.0, 2.0], [-5.0, -4.0, -90.0]])
    assert sample(logits, temperature=temperature).tolist() == [1, 1]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": math.nan}, {"temperature": math.inf}, {"temperature": -1e-9},
        {"top_k": 0}, {"top_k": -1}, {"top_k": 2.5},
        {"top_p": 0.0}, {"top_p": math.nan}, {"top_p": 1.1}, {"top_p": -0.1},
        {"min_p": math.nan}, {"min_p": 1.5}, {"min_p": -0.1},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(settings: dict[str, Any]):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))}: expected"):
        sample(torch.zeros(1, 3), **settings)


def test_settings_at_their_edges_leave_a_token():
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    narrow: list[dict[str, Any]] = [{"top_k": 1}, {"top_p": 1e-45}, {"min_p": 1.0}]
    for settings in narrow:
        assert sample(logits, **settings).tolist() == [1]
    wide = sample(logits, temperature=1e300, top_k=10**9, top_p=1.0, min_p=0.0)
    assert int(wide) in range(3)


def test_logits_without_a_largest_and_seeds_out_of_range_are_refused():
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="weights are not finite"):
            sample(torch.tensor([[0.0, bad]]), temperature=0)
    model = GPT(GPTConfig(vocab_size=7, block_size=8, n_layer=1, n_head=1, n_embd=8))
    with pytest.raises(ValueError, match="seed: expected"):
        model.generate(torch.zeros(1, 1, dtype=torch.int64), 1, seed=1 << 64)


def test_several_ids_end_a_text():
    model = GPT(GPTConfig(vocab_size=7, block_size=32, n_layer=1, n_head=1, n_embd=8))
    begin = torch.zeros(3, 1, dtype=torch.int64)
    free = model.generate(begin, 20, seed=1)
    ends = {int(free[0, 3]), int(free[1, 5])}
    ended = model.generate(begin, 20, seed=1, eos_id=ends)
    for row, full in zip(ended.tolist(), free.tolist(), strict=True):
        first = next((i for i in range(1, 21) if full[i] in ends), len(row) - 1)
        assert row[: first + 1] == full[: first + 1]
        assert set(row[first:]) == {row[first]}
