"""The number types of generation."""

import pytest
import torch

from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.sampling import Sampling
from gptpy.inference.weights import FEW_ROWS, Int8Linear, prepare

from .networks import network

PROMPT = list(range(30))


def logprobs(engine):
    request = Request(PROMPT, 12, sampling=Sampling(0.0), logprobs=0)
    [handle] = engine.generate([request])
    return handle.outputs[0].ids, [x.logprob for x in handle.outputs[0].logprobs]


def test_other_number_types_are_close():
    model = network(position="rope", tied_head=False, logit_softcap=20.0, n_embd=64)
    ids, _ = logprobs(Engine(model))
    for number_type in ("bfloat16", "int8"):
        engine = Engine(model, number_type=number_type)
        assert engine.runner.network.dtype == torch.bfloat16
        assert not engine.runner.exact
        text = torch.tensor([[*PROMPT, *ids]])
        with torch.inference_mode():
            expected = model(text)[0][0, len(PROMPT) - 1 :].log_softmax(-1)
        found_ids, found = logprobs(engine)
        same = next((i for i, (a, b) in enumerate(zip(ids, found_ids, strict=True)) if a != b), 12)
        assert same >= 1
        for i in range(same):
            assert abs(found[i] - float(expected[i, ids[i]])) < 0.15
    assert model.dtype == torch.float32


def test_weights_that_keep_their_type_are_shared():
    model = network()
    shared, _ = prepare(model, "float32")
    assert shared.token_embedding.weight.data_ptr() == model.token_embedding.weight.data_ptr()
    assert not shared.token_embedding.weight.requires_grad
    assert model.token_embedding.weight.requires_grad


@pytest.mark.parametrize("width", [64, 33, 12])  # torch's own product takes multiples of 16
def test_eight_bits_round_to_half_a_step(width):
    weight = torch.randn(40, width, generator=torch.Generator().manual_seed(0))
    weight[3] = 0.0
    layer = Int8Linear(weight, torch.ones(40))
    wide = layer.weight.float() * (weight.abs().amax(1) / 127)[:, None]
    assert bool(((wide - weight).abs() <= weight.abs().amax(1, keepdim=True) / 254 + 1e-6).all())
    x = torch.randn(2, FEW_ROWS, width, generator=torch.Generator().manual_seed(1)).bfloat16()
    for rows in (x[:1], x):  # few rows and many
        expected = rows.float() @ wide.T + 1
        torch.testing.assert_close(layer(rows).float(), expected, rtol=0.03, atol=0.15)
