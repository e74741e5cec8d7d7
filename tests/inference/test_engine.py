"""Many requests at once against each one alone, and greedy text against `model.generate`."""

import itertools
import random

import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.config.errors import ConfigError
from gptpy.config.lora import LoraConfig
from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.sampling import Sampling
from gptpy.model import Bigram, build_model
from gptpy.model.lora import add_adapters

from .networks import BLOCK, Bytes, V, check_idle, ids_of, network, run

GREEDY = Sampling(temperature=0.0)
SHAPES = {
    "learned": {},
    "sinusoidal": {"position": "sinusoidal"},
    "modern": {
        "position": "rope", "n_kv_head": 2, "qk_norm": True, "norm": "rmsnorm",
        "activation": "swiglu", "bias": False, "tied_head": False,
    },
    "windows": {"position": "rope", "window": 9, "full_attention_every": 2},
    "rolling": {"position": "rope", "window": 9},
    "narrow": {"position": "learned", "window": 40, "n_layer": 3},
    "softcaps": {"position": "rope", "attention_softcap": 5.0, "logit_softcap": 3.0},
    "alibi": {"position": "alibi", "n_kv_head": 1},
    "none": {"position": "none"},
}  # fmt: skip


def prompts(count, longest=40, seed=0):
    draw = random.Random(seed)
    return [[draw.randrange(V) for _ in range(draw.randint(1, longest))] for _ in range(count)]


@pytest.mark.parametrize("name", SHAPES)
def test_greedy_ids_are_those_of_generate(name):
    model = network(**SHAPES[name])
    texts = prompts(5)
    requests = [Request(p, BLOCK + 1 - len(p), sampling=GREEDY) for p in texts]
    found = run(Engine(model, step_tokens=24), *requests)
    for prompt, [ids] in zip(texts, found, strict=True):
        expected = model.generate(torch.tensor([prompt]), len(ids), temperature=0)
        assert [*prompt, *ids] == expected[0].tolist()


def test_without_exactness_the_text_stays_up_to_rounding():
    model = network()
    engine = Engine(model, exact=False)
    assert engine.runner.row_floor == 1 and not engine.runner.exact
    requests = [Request(p, 12, seed=i) for i, p in enumerate(prompts(4))]
    assert run(engine, *requests) == run(Engine(model), *requests)


def test_a_bigram_goes_on_for_ever():
    model = Bigram(GPTConfig.preset("bigram", vocab_size=V, block_size=4))
    model.token_embedding.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    [[ids]] = run(Engine(model), Request([3, 5], 30, sampling=GREEDY))
    expected = model.generate(torch.tensor([[3, 5]]), 30, temperature=0)
    assert ids == expected[0, 2:].tolist()
    assert Engine(model).runner.token_bytes == 0


def encoder_decoder():
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_encoder_layer": 1, "n_head": 4, "n_embd": 32, "block_size": 40}
    model = build_model(GPTConfig.preset("encoder-decoder-mini", vocab_size=V, **shape)).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    return model


def test_an_encoder_decoder_continues_for_its_source():
    model = encoder_decoder()
    sources = prompts(4, longest=30, seed=2)
    # The same beginning for all: keys of one source are not those of another.
    begin = list(range(20))
    requests = [Request(begin, 20, sampling=GREEDY, source=s) for s in sources]
    found = run(Engine(model, max_running=3), *requests)
    for source, [ids] in zip(sources, found, strict=True):
        expected = model.generate(
            torch.tensor([begin]), 20, temperature=0, source=torch.tensor([source])
        )
        assert ids == expected[0, 20:].tolist()
    with pytest.raises(ConfigError, match="encoder-decoder needs it"):
        Engine(model).submit(Request([1], 4))


def test_an_encoder_is_refused():
    model = build_model(GPTConfig.preset("encoder-mini", vocab_size=V, block_size=16))
    with pytest.raises(ConfigError, match="encoder sees both directions"):
        Engine(model)


def test_adapters_are_merged_and_the_model_stays():
    model = network()
    plain = model.generate(torch.tensor([[1, 2]]), 8, temperature=0)
    add_adapters(model, LoraConfig(rank=2))
    for name, parameter in model.named_parameters():
        if "lora_b" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(0))
    expected = model.generate(torch.tensor([[1, 2]]), 8, temperature=0)
    assert not torch.equal(plain, expected)
    names = [name for name, _ in model.named_parameters()]
    [[ids]] = run(Engine(model.train()), Request([1, 2], 8, sampling=GREEDY))
    assert ids == expected[0, 2:].tolist()
    assert names == [name for name, _ in model.named_parameters()] and model.training


# ---- What else is in the batch


def mixed_requests(count):
    draw = random.Random(7)
    shared = [draw.randrange(V) for _ in range(35)]
    requests = []
    for seed in range(count):
        prompt = [draw.randrange(V) for _ in range(draw.randint(1, 20))]
        if seed % 3 == 0:
            prompt = shared[: draw.randint(16, 35)] + prompt
        kind = draw.randrange(4)
        settings = (
            Sampling(temperature=1.3),
            Sampling(temperature=0.9, top_k=12, top_p=0.9),
            Sampling(repetition_penalty=1.2, frequency_penalty=0.3, typical_p=0.8),
            GREEDY,
        )[kind]
        n = draw.choice([1, 1, 3])
        room = draw.randint(1, 40)
        requests.append(Request(prompt, room, seed=seed, n=n, sampling=settings, logprobs=2))
    return requests


def results(handle):
    return [(output.ids, output.logprobs, output.finish_reason) for output in handle.outputs]


@pytest.mark.parametrize("name", ["learned", "modern", "windows", "rolling", "narrow"])
def test_texts_and_logprobs_do_not_depend_on_the_batch(name):
    """Random joins and leaves, few blocks (so that sequences are interrupted), small steps."""
    model = network(**SHAPES[name])
    requests = mixed_requests(12)
    alone = []
    for request in requests:
        alone.append(results(Engine(model).generate([request])[0]))
    engine = Engine(model, max_running=7, step_tokens=20, cache_tokens=16 * 14)
    draw, waiting, handles, cancelled = random.Random(1), list(requests), [], []
    while waiting or engine.busy:
        for _ in range(draw.choice([0, 0, 1, 2, 4])):
            if waiting:
                handles.append(engine.submit(waiting.pop(0)))
                if draw.random() < 0.4:  # one more, to be cancelled at some step
                    cancelled.append(engine.submit(draw.choice(requests)))
        for handle in cancelled:
            if draw.random() < 0.2:
                handle.cancel()
        engine.step()
    assert [results(handle) for handle in handles] == alone
    assert all(handle.done for handle in cancelled)
    statistics = engine.statistics
    assert statistics.cached_tokens > 0
    assert statistics.preemptions > 0 or name == "rolling"  # which gives blocks back in time
    check_idle(engine)
    assert engine.runner.exact


def test_a_long_text_beside_short_ones_past_the_end_of_the_context():
    model = network()
    long = Request(list(range(60)), 150, seed=3)
    alone = run(Engine(model), long)
    engine = Engine(model, max_running=3, step_tokens=16, cache_tokens=16 * 8)
    beside = [Request([i, i + 1], 30, seed=i) for i in range(6)]
    assert run(engine, long, *beside)[0] == alone[0]


def test_blocks_are_shared_within_a_step_and_kept_after_the_end():
    model, prompt = network(), list(range(40))
    engine = Engine(model)
    handles = engine.generate([Request([*prompt, i], 4, seed=i) for i in range(6)])
    # 40 tokens are two full blocks of 16: the others wait for the first, then take its blocks.
    assert [h.cached_tokens for h in handles] == [0, 32, 32, 32, 32, 32]
    [later] = engine.generate([Request([*prompt, 9], 4, seed=0)])
    assert later.cached_tokens == 32
    check_idle(engine)
    # A prompt that is known completely computes its last token again, for the logits.
    [again] = engine.generate([Request(prompt[:32], 4, seed=0)])
    assert again.cached_tokens == 16


def test_several_samples_compute_their_prompt_once():
    model, prompt = network(), list(range(38))
    engine = Engine(model)
    handle = engine.submit(Request(prompt, 5, seed=11, n=4))
    engine.step()
    assert engine.runner.pool.held == 2 + 4  # two full blocks for all, one more for each
    while engine.busy:
        engine.step()
    assert ids_of(handle) == [
        run(Engine(model), Request(prompt, 5, seed=11 + i))[0][0] for i in range(4)
    ]
    assert len({tuple(ids) for ids in ids_of(handle)}) > 1
    crowded = Engine(model, max_running=2, cache_tokens=64, step_tokens=16)
    assert run(crowded, Request(prompt, 5, seed=11, n=4)) == [ids_of(handle)]


def test_memory_follows_use():
    engine = Engine(network())
    handle = engine.submit(Request([1] * 5, 40, seed=0))
    held = []
    while engine.busy:
        engine.step()
        held.append(engine.runner.pool.held)
    assert held[0] == 1 and max(held) == 3 and held[-1] == 0 and handle.done


def test_windows_give_blocks_back_while_they_run():
    model = network(position="rope", window=17)
    engine = Engine(model, cache_tokens=16 * 8)
    handle = engine.submit(Request(list(range(50)), 200, sampling=GREEDY))
    held = 0
    while engine.busy:
        engine.step()
        held = max(held, engine.runner.pool.held) if len(handle.outputs[0].ids) > 1 else 0
    assert held <= 3  # a window of 17 tokens lies in three blocks at most


@pytest.mark.parametrize("position", ["rope", "alibi", "none"])
def test_a_rolling_window_goes_on_as_the_reference_does(position):
    """Two layers of windows of 20 see 39 tokens: `block_size` is 64, nothing is recomputed."""
    model = network(position=position, window=20)
    engine = Engine(model)
    assert engine.scheduler.rolling
    texts = [list(range(60)), list(range(10)), [5] * 90]
    found = run(engine, *(Request(p, 100, sampling=GREEDY) for p in texts))
    for prompt, [ids] in zip(texts, found, strict=True):
        expected = model.generate(torch.tensor([prompt]), 100, temperature=0)
        assert ids == expected[0, len(prompt) :].tolist()
    assert engine.statistics.steps < 110


def test_a_full_context_drops_a_quarter():
    model, prompt = network(), [i % V for i in range(70)]
    [[ids]] = run(Engine(model), Request(prompt, 60, sampling=GREEDY))
    context, expected = prompt[-BLOCK:], []
    for _ in range(60):
        if len(context) > BLOCK:
            context = context[-(BLOCK - BLOCK // 4) :]
        logits = model(torch.tensor([context]), last_only=True)[0]
        expected.append(int(logits.argmax()))
        context.append(expected[-1])
    assert ids == expected


# ---- How texts end


def test_end_tokens_minimum_and_maximum():
    model = network()
    free = run(Engine(model), Request([1], 30, sampling=GREEDY))[0][0]
    end = free[7]
    first = free.index(end)
    [handle] = Engine(model).generate([Request([1], 30, sampling=GREEDY, end_ids=frozenset({end}))])
    output = handle.outputs[0]
    assert output.ids == free[: first + 1]
    assert (output.finish_reason, output.stopped_by) == ("stop", end)
    request = Request([1], 30, 12, sampling=GREEDY, end_ids=frozenset({end, 3}))
    [[later]] = run(Engine(model), request)
    assert not {end, 3} & set(later[:12]) and len(later) >= 13
    [handle] = Engine(model).generate([Request([1], 5, sampling=GREEDY)])
    assert handle.outputs[0].finish_reason == "length" and len(handle.outputs[0].ids) == 5


def test_stop_strings_across_tokens():
    said = "abé stop"
    model = Bigram(GPTConfig.preset("bigram", vocab_size=256, block_size=4))
    model.token_embedding.weight.data.zero_()
    path = [0, *said.encode(), 0]
    for a, b in itertools.pairwise(path):
        model.token_embedding.weight.data[a, b] = 50.0
    engine = Engine(model, Bytes())

    def pieces(stop, length=9, **settings):
        request = Request([0], length, sampling=GREEDY, stop=stop, **settings)
        found = [(piece.text, piece.finish_reason) for piece in engine.stream(request)]
        return [piece for piece in found if any(piece)]

    expected = [("a", None), ("b", None), ("é", None), (" ", None), ("", "stop")]
    assert pieces(["sto", "zz"]) == expected
    assert "".join(t for t, _ in pieces([" sX"], 7)) == "abé st"
    assert pieces((), 3) == [("a", None), ("b", None), ("\ufffd", "length")]
    found = "".join(t for t, _ in pieces(["b", "p"], min_tokens=4))
    assert found == "abé sto"


def test_cancelling_at_every_step_leaves_nothing():
    model = network()
    request = Request(list(range(30)), 20, seed=1, n=3)
    for steps in range(0, 24, 3):
        engine = Engine(model, step_tokens=16)
        handle = engine.submit(request)
        other = engine.submit(Request([4, 5], 12, seed=2))
        for _ in range(steps):
            engine.step()
        handle.cancel()
        pieces = engine.step()
        assert handle.done and {o.finish_reason for o in handle.outputs} <= {"cancelled", "length"}
        assert len([p for p in pieces if p.handle is handle and p.finish_reason]) in (0, 3)
        while engine.busy:
            engine.step()
        check_idle(engine)
        assert len(other.outputs[0].ids) == 12


def test_leaving_a_stream_cancels_the_request():
    engine = Engine(network())
    for piece in engine.stream(Request([1], 50)):
        if piece.ids:
            break
    engine.step()
    check_idle(engine)


def test_numbers_that_are_not_finite_end_one_request_only():
    model = network()
    model.token_embedding.weight.data[60] = torch.nan
    model.head = torch.nn.Linear(32, V, bias=False)
    requests = [Request([1, 2, 60], 5, n=2), Request([1, 2, 3], 5, seed=0)]
    banned = Sampling(banned=frozenset({60}))
    engine = Engine(model)
    bad, good = engine.generate([requests[0], Request([1, 2, 3], 5, seed=0, sampling=banned)])
    assert [o.finish_reason for o in bad.outputs] == ["error", "error"]
    assert "finite" in (bad.outputs[0].error or "") and len(good.outputs[0].ids) == 5
    # Blocks that held such numbers are clean when others use them.
    [after] = engine.generate([Request([1, 2, 3], 5, seed=0, sampling=banned)])
    check_idle(engine)
    assert ids_of(after) == ids_of(good)


# ---- What is refused


def test_what_can_never_be_done_is_refused_with_what_can():
    engine = Engine(network(), cache_tokens=48)
    with pytest.raises(ConfigError, match="do not fit the cache of 48: 48 do"):
        engine.submit(Request([1] * 20, 60))
    engine.submit(Request([1] * 20, 28))
    with pytest.raises(ConfigError, match="5 new tokens fit"):
        Engine(network()).submit(Request([1] * 60, 6, context="error"))
    Engine(network()).submit(Request([1] * 60, 5, context="error"))
    with pytest.raises(ConfigError, match=r"ids from 0 to 60, got 61.*another tokenizer"):
        engine.submit(Request([1, 61], 4))
    with pytest.raises(ConfigError, match="without a tokenizer"):
        engine.submit(Request([1], 4, stop=["x"]))
    for wrong, message in (
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n: expected"),
        ({"min_tokens": 9}, "min_tokens"),
        ({"stop": [""]}, "non-empty"),
        ({"stop": "ab"}, "list of non-empty"),
        ({"logprobs": -1}, "logprobs"),
        ({"context": "shift"}, "'crop' or 'error'"),
        ({"beams": 2, "n": 3}, "at most beams"),
    ):
        with pytest.raises(ConfigError, match=message):
            Request([1], **{"max_tokens": 4, **wrong})
    with pytest.raises(ConfigError, match="at least one id"):
        Request([], 4)
    with pytest.raises(ConfigError, match="number_type"):
        Engine(network(), number_type="int4")
