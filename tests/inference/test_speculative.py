"""Guesses change the number of passes and nothing else."""

import pytest
import torch

from gptpy.config.errors import ConfigError
from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.sampling import Sampling
from gptpy.inference.scheduler import Sequence
from gptpy.inference.speculative import DraftModel, PromptLookup

from .networks import BLOCK, V, check_idle, ids_of, network
from .test_engine import mixed_requests, prompts, results


def similar(model, seed=5, much=0.02):
    """A model that often, not always, chooses the same."""
    other = network()
    generator = torch.Generator().manual_seed(seed)
    for mine, its in zip(other.parameters(), model.parameters(), strict=True):
        mine.data = its.data + torch.randn(its.shape, generator=generator) * much
    return other


def guessers(model):
    return {
        "lookup": lambda: PromptLookup(5),
        "itself": lambda: DraftModel(model, tokens=3),
        "similar": lambda: DraftModel(similar(model)),
        "shorter context": lambda: DraftModel(network(block_size=24), tokens=2),
        "little room": lambda: DraftModel(similar(model), cache_tokens=48),
    }


@pytest.mark.parametrize("name", guessers(None))
def test_texts_are_the_same_with_guesses(name):
    """Greedy and sampled, penalised, several samples, past the context, few blocks."""
    model = network()
    requests = [*mixed_requests(6), Request([3, 4] * 8, BLOCK + 20, sampling=Sampling(0.0))]
    plain = [results(handle) for handle in Engine(model).generate(requests)]
    engine = Engine(
        model, speculation=guessers(model)[name](), max_running=4, step_tokens=30, cache_tokens=200
    )
    handles = engine.generate(requests)
    for handle, expected in zip(handles, plain, strict=True):
        assert [o.ids for o in handle.outputs] == [ids for ids, *_ in expected]
        assert results(handle) == expected
    check_idle(engine)
    statistics = engine.statistics
    assert 0 <= statistics.accepted <= statistics.drafted
    if isinstance(engine.speculation, DraftModel):
        assert engine.speculation.runner.pool.held == 0 and not engine.speculation._states
    assert sum(h.accepted for h in handles) == statistics.accepted


def test_a_model_that_guesses_for_itself_is_always_right():
    model = network()
    requests = [Request(p, 20, seed=i) for i, p in enumerate(prompts(3))]
    plain = Engine(model)
    plain.generate(requests)
    engine = Engine(model, speculation=DraftModel(model, tokens=4))
    engine.generate(requests)
    assert engine.statistics.acceptance == 1 and engine.statistics.drafted > 0
    assert engine.statistics.steps * 3 < plain.statistics.steps


def test_a_similar_model_saves_passes():
    model = network()
    requests = [Request(p, 30, seed=i) for i, p in enumerate(prompts(3))]
    plain, engine = Engine(model), Engine(model, speculation=DraftModel(similar(model)))
    expected = [ids_of(h) for h in plain.generate(requests)]
    assert [ids_of(h) for h in engine.generate(requests)] == expected
    assert engine.statistics.acceptance > 0.4
    assert engine.statistics.steps < plain.statistics.steps * 0.7


def test_looking_up_what_followed_before():
    def guesses(ids, most=9):
        sequence = Sequence((0, 0), ids, 1)
        found = lookup.propose([(sequence, Sampling(), b"", most)])
        return found.get(sequence)

    lookup = PromptLookup(3)
    assert guesses([1, 2, 3, 4, 5, 1, 2]) == [3, 4, 5]
    assert guesses([1, 2, 3, 4, 5, 1, 2], most=1) == [3]
    assert guesses([1, 2, 7, 1, 2, 8, 1, 2]) == [8, 1, 2]  # the last time counts
    assert guesses([9, 1, 2, 7, 1, 2, 8, 9, 1, 2]) == [7, 1, 2]  # the longest match first
    assert guesses([1, 2, 3]) is None and guesses([5]) is None
    growing = Sequence((0, 0), [1, 2, 3], 1)
    for token, expected in ((1, None), (2, [3, 1, 2])):
        growing.ids.append(token)
        assert lookup.propose([(growing, Sampling(), b"", 9)]).get(growing) == expected
    lookup.forget(growing)
    assert growing not in lookup._seen


def test_a_vocabulary_of_another_size_is_refused():
    draft = DraftModel(network(vocab_size=V + 3))
    with pytest.raises(ConfigError, match=r"61 .*64"):
        Engine(network(), speculation=draft)
    with pytest.raises(ConfigError, match="tokens: expected"):
        PromptLookup(0)
