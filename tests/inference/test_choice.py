"""Probabilities against definitions written row by row, draws against probabilities."""

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config.errors import ConfigError
from gptpy.inference import sampling
from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.sampling import (
    Sampling,
    adjusted,
    choose,
    noise,
    noise_key,
    probabilities,
    usable_rows,
)
from gptpy.model.sampling import sample

from .networks import V, network, run


def reference(logits, s):
    """The definitions, for one row of numbers; tokens that are dropped have probability 0."""
    scores = [x / s.temperature for x in logits]
    if s.top_k is not None:
        smallest = sorted(scores)[-min(s.top_k, len(scores))]
        scores = [x if x >= smallest else -math.inf for x in scores]

    def normalised(weights):
        total = sum(weights)
        return [w / total for w in weights]

    p = normalised([math.exp(x - max(scores)) for x in scores])
    if s.typical_p is not None:
        entropy = -sum(x * math.log(x) for x in p if x)
        order = sorted(
            (i for i in range(len(p)) if p[i]), key=lambda i: abs(-math.log(p[i]) - entropy)
        )
        p = normalised(cut(p, order, s.typical_p))
    if s.top_p is not None:
        p = cut(p, sorted(range(len(p)), key=lambda i: -p[i]), s.top_p)
    if s.min_p is not None:
        p = [x if x >= s.min_p * max(p) else 0.0 for x in p]
    return normalised(p)


def cut(p, order, mass):
    kept, total = [0.0] * len(p), 0.0
    for i in order:
        if total >= mass:
            break
        kept[i] = p[i]
        total += p[i]
    return kept


SETTINGS: list[dict[str, Any]] = [
    {"temperature": t, "top_k": k, "typical_p": y, "top_p": p, "min_p": m}
    for t, k, y, p, m in itertools.product(
        (0.6, 1.5), (None, 1, 7), (None, 0.5), (None, 0.8), (None, 0.2)
    )
]


@pytest.mark.parametrize("few", [1024, 3])  # most tokens left to sort, or all sorted
def test_probabilities_follow_the_definitions(few, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_LIKELY", few)
    logits = torch.randn(5, 23, generator=torch.Generator().manual_seed(0)) * 3
    for settings in SETTINGS:
        s = Sampling(**settings)
        p = probabilities(logits, s)
        p = p / p.sum(-1, keepdim=True)
        expected = torch.tensor([reference(row, s) for row in logits.tolist()])
        torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-5, msg=str(settings))


def test_probabilities_are_those_of_generate():
    """One token's frequencies under the plain sampler, for the settings that both have."""
    logits = torch.randn(1, 9, generator=torch.Generator().manual_seed(2)) * 2
    settings = {"temperature": 0.7, "top_k": 6, "top_p": 0.9, "min_p": 0.05}
    p = probabilities(logits, Sampling(**settings))[0]
    generator = torch.Generator().manual_seed(0)
    draws = sample(logits.expand(20000, -1), generator=generator, **settings)
    assert chi_square(draws.bincount(minlength=9).tolist(), (p / p.sum()).tolist()) < limit(9)


def chi_square(counts, p):
    total = sum(counts)
    assert all(c == 0 for c, x in zip(counts, p, strict=True) if x == 0)
    return sum((c - total * x) ** 2 / (total * x) for c, x in zip(counts, p, strict=True) if x)


def limit(categories):
    """Five standard deviations above the mean of a chi-square of so many categories."""
    freedom = categories - 1
    return freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 1.7}, {"top_k": 4}, {"top_p": 0.7}, {"min_p": 0.1}, {"typical_p": 0.6}],
)
def test_draws_have_these_probabilities(settings):
    logits = torch.randn(12, generator=torch.Generator().manual_seed(4)) * 2
    s = Sampling(**settings)
    count = 4000
    keys = [(noise_key(seed, 0), seed % 3) for seed in range(count)]
    tokens = choose(logits.expand(count, -1), [s] * count, keys)
    counts = np.bincount(tokens, minlength=12).tolist()
    assert chi_square(counts, reference(logits.tolist(), s)) < limit(12)


def test_neighbouring_positions_and_seeds_are_independent():
    p = torch.tensor([0.5, 0.3, 0.2])
    count = 3000
    keys = [(noise_key(seed, 0), position) for seed in range(count) for position in (0, 1)]
    tokens = choose(p.log().expand(len(keys), -1), [Sampling()] * len(keys), keys)
    pairs = np.bincount([3 * a + b for a, b in zip(tokens[::2], tokens[1::2], strict=True)])
    expected = (p[:, None] * p).flatten().tolist()
    assert chi_square(pairs.tolist(), expected) < limit(9)
    later = tokens[::2]  # of neighbouring seeds
    pairs = np.bincount([3 * a + b for a, b in itertools.pairwise(later)], minlength=9)
    assert chi_square(pairs.tolist(), expected) < limit(9)
    assert noise_key(7, 2) == noise_key(9, 0) and bool((noise(b"k", 3, 1000) > 0).all())


def test_rows_with_different_settings_are_chosen_together():
    logits = torch.randn(40, 17, generator=torch.Generator().manual_seed(1))
    kinds = [Sampling(0.0), Sampling(), Sampling(top_k=3), Sampling(logit_bias={1: 2.0})]
    settings = [kinds[i % 4] for i in range(40)]
    keys = [(noise_key(i, 0), i) for i in range(40)]
    together = choose(logits, settings, keys)
    alone = [choose(logits[i : i + 1], settings[i : i + 1], keys[i : i + 1])[0] for i in range(40)]
    assert together == alone
    assert together[::4] == logits.argmax(-1)[::4].tolist()


def naive_adjusted(logits, s, prompt, new, banned):
    out = list(logits)
    text = [*prompt, *new]
    text = text if s.repetition_window is None else text[-s.repetition_window :]
    for token in range(len(out)):
        if token in text:
            penalty = s.repetition_penalty
            out[token] = out[token] / penalty if out[token] > 0 else out[token] * penalty
        times = new.count(token)
        out[token] -= times * s.frequency_penalty + (times > 0) * s.presence_penalty
        out[token] += s.logit_bias.get(token, 0.0)
        allowed = s.allowed is None or token in s.allowed
        if not allowed or token in s.banned or token in banned:
            out[token] = -math.inf
    return out


def test_penalties_biases_and_bans_follow_the_definitions():
    draw = random.Random(0)
    for _ in range(60):
        s = Sampling(
            repetition_penalty=draw.choice([1.0, 1.3, 0.8]),
            repetition_window=draw.choice([None, 3, 50]),
            presence_penalty=draw.choice([0.0, 0.5, -1.0]),
            frequency_penalty=draw.choice([0.0, 0.25]),
            logit_bias=draw.choice([{}, {2: -5.0, 3: 1.5}, {4: -math.inf}]),
            banned=draw.choice([frozenset(), frozenset({1, 5})]),
            allowed=draw.choice([None, frozenset({0, 1, 2, 3})]),
        )
        logits = torch.tensor([draw.gauss(0, 2) for _ in range(9)])
        prompt = [draw.randrange(9) for _ in range(draw.randint(1, 6))]
        new = [draw.randrange(9) for _ in range(draw.randint(0, 6))]
        banned = draw.choice([(), (7, 8)])
        kept = logits.clone()
        found = adjusted(logits, s, prompt, new, banned)
        expected = torch.tensor(naive_adjusted(logits.tolist(), s, prompt, new, banned))
        torch.testing.assert_close(found, expected)
        assert torch.equal(logits, kept)


def test_the_engine_applies_them_to_the_text():
    model = network()
    plain = run(Engine(model), Request([1, 2], 25, sampling=Sampling(0.0)))[0][0]
    rare = Sampling(0.0, frequency_penalty=100.0)
    assert len(set(run(Engine(model), Request([1, 2], 25, sampling=rare))[0][0])) == 25
    allowed = frozenset({3, 4, plain[0]})
    few = Sampling(0.0, allowed=allowed, banned=frozenset({plain[0]}))
    assert set(run(Engine(model), Request([1, 2], 25, sampling=few))[0][0]) <= {3, 4}
    wanted = Sampling(1.0, logit_bias={5: 1000.0})
    assert run(Engine(model), Request([1, 2], 5, sampling=wanted))[0][0] == [5] * 5
    none = Sampling(logit_bias=dict.fromkeys(range(V), -math.inf))
    [handle] = Engine(model).generate([Request([1], 5, sampling=none)])
    assert handle.outputs[0].finish_reason == "error"
    assert handle.outputs[0].error == "no token is left to choose"


def test_logprobs_are_those_before_sampling():
    model = network()
    settings = Sampling(0.5, top_k=2, frequency_penalty=1.0)
    request = Request([7, 8], 6, seed=1, sampling=settings, logprobs=3)
    [handle] = Engine(model).generate([request])
    output = handle.outputs[0]
    text = [7, 8, *output.ids]
    expected = model(torch.tensor([text]))[0][0].detach().log_softmax(-1)
    for i, found in enumerate(output.logprobs):
        row = expected[1 + i]
        assert found.id == output.ids[i]
        assert found.logprob == pytest.approx(float(row[found.id]), abs=1e-4)
        values, ids = row.topk(3)
        assert [token for token, _ in found.alternatives] == ids.tolist()
        torch.testing.assert_close(
            torch.tensor([x for _, x in found.alternatives]), values, rtol=1e-4, atol=1e-4
        )


def test_settings_out_of_range_are_refused():
    wrong: tuple[dict[str, Any], ...] = (
        {"temperature": -1.0}, {"temperature": math.nan}, {"temperature": math.inf}, {"top_k": 0},
        {"top_p": 0.0}, {"top_p": 1.5}, {"typical_p": 0.0}, {"min_p": 1.5}, {"min_p": math.nan},
        {"repetition_penalty": 0.0}, {"repetition_window": 0}, {"presence_penalty": math.nan},
        {"frequency_penalty": math.inf}, {"logit_bias": {1: math.nan}},
        {"allowed": frozenset({1}), "banned": frozenset({1})}, {"allowed": frozenset()},
    )  # fmt: skip
    for settings in wrong:
        with pytest.raises(ConfigError, match=next(iter(settings))):
            Sampling(**settings)
    engine, ids = Engine(network()), frozenset({V})
    wrong = ({"banned": ids}, {"allowed": ids}, {"logit_bias": {-1: 1.0}})
    for settings in wrong:
        with pytest.raises(ConfigError, match=f"{next(iter(settings))}: expected ids from 0 to"):
            engine.submit(Request([1], 2, sampling=Sampling(**settings)))
    with pytest.raises(ConfigError, match="every id"):
        engine.submit(Request([1], 2, sampling=Sampling(banned=frozenset(range(V)))))


def test_rows_without_a_largest_number_are_found():
    nan, inf = math.nan, math.inf
    rows = [[1, nan, 2], [inf, 1, 2], [-inf, -inf, -inf], [-inf, 2, 1], [nan, inf, 0]]
    logits = torch.tensor(rows)
    assert usable_rows(logits) == [False, False, False, True, False]
    assert usable_rows(logits) == logits.amax(-1).isfinite().tolist()
    assert usable_rows(logits[:0]) == []
