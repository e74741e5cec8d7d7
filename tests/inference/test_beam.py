"""Beam search against the same search over whole texts, and against all texts."""

import itertools
from typing import Any

import pytest
import torch

from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.sampling import Sampling

from .networks import Bytes, check_idle, network


@torch.inference_mode()
def reference(model, prompt, beams, length, ends, penalty):
    """Every hypothesis is computed from its first token."""
    growing, finished = [([], 0.0)], []

    def score(total, n):
        return total / n**penalty

    for step in range(1, length + 1):
        candidates = []
        for ids, total in growing:
            logits = model(torch.tensor([[*prompt, *ids]]), last_only=True)[0][0, -1]
            logprobs = logits.log_softmax(-1).tolist()
            candidates += [([*ids, t], total + x) for t, x in enumerate(logprobs)]
        candidates.sort(key=lambda c: -c[1])
        growing = []
        for rank, (ids, total) in enumerate(candidates):
            if ids[-1] in ends:
                if rank < beams:
                    finished.append((ids, score(total, len(ids))))
            elif len(growing) < beams:
                growing.append((ids, total))
        if step == length:
            finished += [(ids, score(total, len(ids))) for ids, total in growing]
        finished = sorted(finished, key=lambda f: -f[1])[:beams]
        if len(finished) == beams and score(growing[0][1], step) <= finished[-1][1]:
            break
    return finished


@pytest.mark.parametrize("beams", [2, 4])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_the_search_is_that_of_the_definition(beams, penalty):
    model = network(vocab_size=19, position="rope")
    prompt, ends = [1, 2, 3, 4], frozenset({5, 6})
    expected = reference(model, prompt, beams, 14, ends, penalty)
    # Few blocks and other requests: hypotheses are interrupted and computed again.
    crowded: dict[str, Any] = {"max_running": 4, "cache_tokens": 16 * 9, "step_tokens": 12}
    for settings in ({}, crowded):
        engine = Engine(model, **settings)
        request = Request(prompt, 14, beams=beams, n=beams, length_penalty=penalty, end_ids=ends)
        others = [Request([i] * 20, 20, seed=i) for i in range(4)]
        handle = engine.generate([*others, request, request])[4]
        assert [o.ids for o in handle.outputs] == [ids for ids, _ in expected]
        for output, (ids, score) in zip(handle.outputs, expected, strict=True):
            assert output.score == pytest.approx(score, abs=1e-4)
            assert (output.finish_reason == "stop") == (ids[-1] in ends)
        check_idle(engine)


def test_as_many_beams_as_texts_find_the_best_of_all():
    model, prompt = network(vocab_size=5), [1, 2]
    best = max(
        itertools.product(range(5), repeat=3),
        key=lambda ids: float(
            model(torch.tensor([[*prompt, *ids]]))[0][0, 1:-1]
            .detach()
            .log_softmax(-1)
            .gather(1, torch.tensor(ids)[:, None])
            .sum()
        ),
    )
    [handle] = Engine(model).generate([Request(prompt, 3, beams=25)])
    assert tuple(handle.outputs[0].ids) == best


def test_bans_hold_and_the_text_comes_at_the_end():
    model = network(vocab_size=256)
    settings = Sampling(allowed=frozenset(b"abc"))
    engine = Engine(model, Bytes())
    handle = engine.submit(Request([1], 6, beams=3, n=2, sampling=settings))
    pieces = []
    while engine.busy:
        pieces += engine.step()
    assert [p.index for p in pieces] == [0, 1]
    assert all(len(o.text) == 6 and set(o.text) <= set("abc") for o in handle.outputs)
    assert handle.outputs[0].text == pieces[0].text


def test_fewer_texts_than_beams_end():
    one = Sampling(allowed=frozenset({3}))
    [handle] = Engine(network()).generate([Request([1], 4, beams=3, n=3, sampling=one)])
    assert handle.outputs[0].ids == [3, 3, 3, 3]
    assert [o.finish_reason for o in handle.outputs] == ["length", "error", "error"]


def test_cancelling_at_every_step_leaves_nothing():
    for steps in range(0, 12):
        engine = Engine(network())
        handle = engine.submit(Request([1] * 20, 10, beams=4))
        for _ in range(steps):
            engine.step()
        handle.cancel()
        engine.step()
        assert handle.done
        check_idle(engine)
