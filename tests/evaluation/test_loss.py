"""Evaluation: every token is scored once; the sum against a plain loop."""

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.data import DataError
from gptpy.devices.processes import World
from gptpy.evaluation.loss import (
    BATCH_TOKENS,
    EvaluationStoppedError,
    evaluate,
    tokens_of_batch,
    windows,
)
from gptpy.model import GPT
from gptpy.model.fast import layers
from gptpy.model.transformer import HeadLoss


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    config = GPTConfig.preset("modern-1m", n_layer=1, n_embd=16, n_head=2, n_kv_head=2)
    model = GPT(config.replace(vocab_size=32, block_size=16))
    for parameter in model.parameters():  # zero-initialised layers would make every logit equal
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize("n", [1, 2, 16, 17, 18, 33, 100])
@pytest.mark.parametrize(("context", "stride"), [(16, 16), (16, 4), (16, 1), (5, 3)])
def test_windows_score_every_target_once(n, context, stride):
    scored = []
    for start, first, end in windows(n, context, stride):
        assert end - start <= context + 1 and start < first < end
        scored += range(first, end)
    assert scored == list(range(1, n))


@pytest.mark.parametrize(("context", "stride"), [(16, 16), (16, 4), (8, 3)])
def test_the_loss_is_that_of_a_plain_loop(model, context, stride):
    ids = np.random.default_rng(0).integers(0, 32, 101)
    total = math.log(32)
    for start, first, end in windows(len(ids), context, stride):
        with torch.no_grad():
            logits, _ = model(torch.tensor(ids[None, start : end - 1]))
        logp = logits[0].double().log_softmax(-1)
        total -= sum(float(logp[i - 1 - start, ids[i]]) for i in range(first, end))
    result = evaluate(model, ids, n_bytes=250, context=context, stride=stride, batch_tokens=64)
    assert result.loss == pytest.approx(total / 101, rel=1e-5)
    assert result.bits_per_byte == pytest.approx(total / math.log(2) / 250, rel=1e-5)
    assert result.perplexity == pytest.approx(math.exp(result.loss))
    assert result.tokens == 101


def test_documents_do_not_see_each_other(model):
    ids = np.random.default_rng(1).integers(0, 6, 101)  # id 0 begins a document
    total = math.log(32)
    for start, first, end in windows(len(ids), 16, 5):
        borders = [start, *(i for i in range(start + 1, end - 1) if ids[i] == 0), end - 1]
        for begin, stop in pairwise(borders):
            with torch.no_grad():
                logits, _ = model(torch.tensor(ids[None, begin:stop]))
            logp = logits[0].double().log_softmax(-1)
            scored = range(max(first, begin + 1), stop + 1)
            total -= sum(float(logp[i - 1 - begin, ids[i]]) for i in scored)
    found = evaluate(model, ids, stride=5, end_of_text=0, batch_tokens=64)
    assert found.loss == pytest.approx(total / 101, rel=1e-5)
    assert evaluate(model, ids, stride=5).loss != pytest.approx(found.loss, rel=1e-2)


def test_a_uniform_model_needs_log_vocabulary(model):
    flat = GPT(model.config)  # its head is initialised with zeros
    result = evaluate(flat, [1, 2, 3], n_bytes=3)
    assert result.loss == pytest.approx(math.log(32))
    assert result.bits_per_byte == pytest.approx(5.0)
    assert flat.training


@pytest.mark.parametrize("context, stride", [(16, 16), (10, 3), (4, 1)])
def test_windows_after_beginning_ids(model, context, stride):
    """Each window after the ids that an imported model's tokenizer gives every text."""
    ids, beginning = np.random.default_rng(0).integers(0, 32, 41), [7, 5]
    found = evaluate(model, ids, context=context, stride=stride, beginning=beginning)
    total, first, longest = 0.0, 0, context - 2
    while first < len(ids):
        last = min(len(ids), longest + 1 if first == 0 else first + min(stride, longest))
        row = torch.tensor([[*beginning, *ids[max(0, last - longest - 1) : last].tolist()]])
        with torch.no_grad():
            logp = model(row[:, :-1])[0][0].double().log_softmax(-1)
        before = row.shape[1] - 1 - last  # the place of an id in `row`, less one
        total -= sum(float(logp[before + at, ids[at]]) for at in range(first, last))
        first = last
    assert found.loss == pytest.approx(total / 41, rel=1e-5)
    assert found.stride == min(stride, longest)


def test_an_evaluation_stops_when_it_is_asked_to(model):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 3

    with pytest.raises(EvaluationStoppedError):
        evaluate(model, np.arange(100) % 32, batch_tokens=16, stop=stop)
    assert len(asked) == 3 and model.training


def test_large_models_take_few_tokens_at_once_on_a_cpu(model):
    assert tokens_of_batch(model) == BATCH_TOKENS
    large = SimpleNamespace(parameters=lambda: [torch.empty(1).expand(200_000_000)])
    assert tokens_of_batch(large) == 500


def test_what_cannot_be_evaluated(model):
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(model, [])
    with pytest.raises(DataError, match="stride 17, context 16"):
        evaluate(model, [1, 2], stride=17)
    with pytest.raises(DataError, match=r"ids lie in 1\.\.32"):
        evaluate(model, [1, 32])


def test_processes_share_the_windows_and_add_up_to_the_whole(model):
    ids = np.random.default_rng(0).integers(0, 32, 203)
    whole = evaluate(model, ids, stride=4, batch_tokens=32).loss * len(ids)

    class Rank(World):
        def sum(self, value, device):
            heard.append(value)
            return value

    for size in (2, 3, 5):
        heard: list[float] = []
        for rank in range(size):
            evaluate(model, ids, stride=4, batch_tokens=32, world=Rank(rank, size))
        assert sum(heard) + math.log(32) == pytest.approx(whole, rel=1e-6)


def test_logits_exist_for_a_chunk_of_scored_tokens_at_a_time(model, monkeypatch):
    """Memory follows the chunk, not the batch; without gradients the numbers are the plain ones."""
    ids = np.random.default_rng(0).integers(0, 32, 101)
    expected = evaluate(model, ids, stride=4).loss
    seen = []
    monkeypatch.setattr(layers, "LOGITS_AT_ONCE", 32 * 7)
    plain = HeadLoss.logits
    monkeypatch.setattr(
        HeadLoss, "logits", lambda *a: seen.append(len(a[1].flatten(0, -2))) or plain(*a)
    )
    assert evaluate(model, ids, stride=4).loss == pytest.approx(expected, rel=1e-6)
    assert max(seen) == 7 and sum(seen) == 100  # every target once, none of the others


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("preset", ["gpt2", "modern-1m"])
def test_the_loss_without_gradients_is_the_plain_one(preset, reduction):
    shape = {"n_layer": 1, "n_embd": 16, "n_head": 2, "n_kv_head": 2, "vocab_size": 32}
    model = GPT(GPTConfig.preset(preset, **shape, block_size=16, logit_softcap=3.0))
    ids = torch.randint(32, (3, 16))
    targets = ids.roll(1, 1).masked_fill(torch.rand(3, 16) < 0.5, -100)
    plain = model(ids, targets, reduction=reduction)[1]
    with torch.no_grad():
        torch.testing.assert_close(model(ids, targets, reduction=reduction)[1], plain.detach())
        losses, right = model.token_scores(ids, targets)
    scored = targets != -100
    torch.testing.assert_close(losses, model(ids, targets, reduction="none")[1][scored].detach())
    logits, _ = model(ids)
    assert right.tolist() == (logits.argmax(-1) == targets)[scored].tolist()
    with torch.no_grad():  # nothing to score
        none = model(ids, torch.full_like(ids, -100), reduction="sum")[1]
    assert none == 0
