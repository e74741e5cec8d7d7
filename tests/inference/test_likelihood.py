"""Log-probabilities of given texts, against one pass of the plain model for each."""

import math

import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.config.errors import ConfigError
from gptpy.inference import likelihood
from gptpy.inference.likelihood import score
from gptpy.inference.runner import Runner
from gptpy.model import Bigram

from .networks import BLOCK, V, network


def reference(model, ids, count):
    kept = torch.tensor(ids[-(model.config.block_size + 1) :])
    with torch.no_grad():
        logprobs = model(kept[None, :-1])[0][0].log_softmax(-1)[-count:]
    chosen = logprobs.gather(-1, kept[-count:, None])[:, 0]
    return chosen.tolist(), bool((logprobs.argmax(-1) == kept[-count:]).all())


def texts(seed=0):
    """With common beginnings, of all lengths, some longer than the context."""
    generator = torch.Generator().manual_seed(seed)

    def draw(n):
        return torch.randint(V, (n,), generator=generator).tolist()

    shared = [draw(40), draw(BLOCK)]
    made = [(draw(n), 1 + n // 4) for n in (2, 3, 17, BLOCK, BLOCK + 1, 3 * BLOCK)]
    made += [(shared[n % 2] + draw(1 + n), 1 + n) for n in range(8)]
    return [*made, made[3], (draw(BLOCK + 1), BLOCK)]


@pytest.mark.parametrize("pass_tokens", [9, 2048])
@pytest.mark.parametrize("shape", [{}, {"position": "rope", "window": 9}])
def test_against_the_plain_model(monkeypatch, pass_tokens, shape):
    monkeypatch.setattr(likelihood, "PASS_TOKENS", pass_tokens)
    model = network(**shape)
    runner = Runner(model, cache_tokens=2 * BLOCK)
    given = texts()
    for _ in range(2):  # the second time beginnings are known
        for (ids, count), found in zip(given, score(runner, given), strict=True):
            logprobs, greedy = reference(model, ids, count)
            assert found.logprobs == pytest.approx(logprobs, abs=1e-4) and found.greedy == greedy
    assert runner.pool.held == 0


def test_greedy_texts_are_known_as_such():
    model = network()
    ids = [1, 2, 3]
    with torch.no_grad():
        for _ in range(5):
            ids.append(int(model(torch.tensor([ids]))[0][0, -1].argmax()))
    runner = Runner(model)
    wrong = [*ids[:-1], (ids[-1] + 1) % V]
    assert [one.greedy for one in score(runner, [(ids, 5), (wrong, 5), (wrong, 1)])] == [
        True, False, False,
    ]  # fmt: skip


def test_a_bigram_keeps_nothing():
    model = Bigram(GPTConfig.preset("bigram", vocab_size=V, block_size=BLOCK))
    torch.nn.init.normal_(model.token_embedding.weight)
    given = texts()
    for (ids, count), found in zip(given, score(Runner(model), given), strict=True):
        assert found.logprobs == pytest.approx(reference(model, ids, count)[0], abs=1e-5)


def test_what_cannot_be_scored_is_refused():
    runner = Runner(network())
    for ids, count in (([], 1), ([1], 1), ([1, 2], 0), ([1, 2], 2), ([1] * 99, BLOCK + 1)):
        with pytest.raises(ConfigError, match="expected 1 to"):
            score(runner, [(ids, count)])
    with pytest.raises(ConfigError, match="expected ids from 0 to 60"):
        score(runner, [([1, V], 1)])
    with pytest.raises(ConfigError, match="no room for a text"):
        score(Runner(network(), cache_tokens=16), [([1] * 40, 1)])
    assert score(runner, []) == []
    broken = network()
    broken.token_embedding.weight.data[5] = math.nan
    runner = Runner(broken)
    with pytest.raises(ConfigError, match="not finite"):
        score(runner, [([5, 1], 1)])
    assert runner.pool.held == 0 and bool(torch.isfinite(runner.cache.keys).all())
