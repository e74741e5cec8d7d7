"""The number types of generation."""

import pytest
import torch

from gptpy.inference import runner, weights
from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.runner import Runner
from gptpy.inference.sampling import Sampling
from gptpy.inference.weights import (
    FEW_ROWS,
    SMALL,
    HalfLinear,
    Int8Linear,
    PackedLinear,
    TransposedLinear,
    packs,
    prepare,
    widens_half,
)

from .networks import network

PROMPT = list(range(30))


def logprobs(engine):
    request = Request(PROMPT, 12, sampling=Sampling(0.0), logprobs=0)
    [handle] = engine.generate([request])
    return handle.outputs[0].ids, [x.logprob for x in handle.outputs[0].logprobs]


@pytest.mark.parametrize("half", [True, False], ids=["keys in half", "keys in full"])
@pytest.mark.parametrize(
    "shape",
    [{"position": "rope", "tied_head": False, "logit_softcap": 20.0}, {"n_token_embd": 48}],
    ids=["rope", "narrow"],
)
def test_other_number_types_are_close(shape, half, monkeypatch):
    monkeypatch.setattr(runner, "attends_in_bfloat16", lambda: half)
    model = network(n_embd=64, **shape)
    ids, _ = logprobs(Engine(model))
    for number_type in ("bfloat16", "float16", "int8"):
        engine = Engine(model, number_type=number_type)
        assert not engine.runner.exact
        assert half or engine.runner.cache.keys.dtype == torch.float32
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


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("width", [64, 33, 12])  # torch's own product takes multiples of 16
def test_eight_bits_round_to_half_a_step(width, integers, monkeypatch):
    monkeypatch.setattr(weights, "multiplies_integers", lambda device: integers)
    weight = torch.randn(40, width, generator=torch.Generator().manual_seed(0))
    weight[3] = 0.0
    layer = Int8Linear(weight, torch.ones(40))
    wide = layer.weight.float() * (weight.abs().amax(1) / 127)[:, None]
    assert bool(((wide - weight).abs() <= weight.abs().amax(1, keepdim=True) / 254 + 1e-6).all())
    x = torch.randn(2, FEW_ROWS, width, generator=torch.Generator().manual_seed(1)).bfloat16()
    x[0, 1] = 0.0
    for rows in (x[:1], x):  # few rows and many
        expected = rows.float() @ wide.T + 1
        found = layer(rows)
        assert found.dtype == rows.dtype
        torch.testing.assert_close(found.float(), expected, rtol=0.03, atol=0.15)


def test_products_of_integers_are_those_of_the_formula_whatever_stands_beside_a_row():
    weight = torch.randn(70, 48, generator=torch.Generator().manual_seed(0))
    layer = Int8Linear(weight, torch.randn(70, generator=torch.Generator().manual_seed(1)))
    x = torch.randn(33, 48, generator=torch.Generator().manual_seed(2))
    x[4] *= 1e6
    whole = layer._by_integers(x)
    for row, found in zip(x, whole, strict=True):
        step = max(abs(v) for v in row.tolist()) / 127
        rounded = [round(v / step) for v in row.tolist()]
        sums = [sum(a * b for a, b in zip(rounded, w, strict=True)) for w in layer.weight.tolist()]
        expected = torch.tensor(sums, dtype=torch.float64) * step * layer.scales.double()
        assert layer.bias is not None
        expected += layer.bias.double()
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=step * 1e-2)
    for begin, end in ((0, 1), (3, 5), (7, 29)):
        assert torch.equal(layer._by_integers(x[begin:end]), whole[begin:end])


def test_numbers_that_are_not_finite_stay_so():
    layer = Int8Linear(torch.ones(4, 16))
    x = torch.ones(3, 16)
    x[1, 2] = torch.nan
    x[2, 0] = torch.inf
    found = layer(x)
    assert bool(found[0].isfinite().all()) and not bool(found[1:].isfinite().any())


@pytest.mark.skipif(
    not widens_half(torch.device("cpu")), reason="torch has no products with float16 weights here"
)
def test_sixteen_bits_round_weights_only():
    """With weights that float16 holds exactly, results are those of fp32, rows of any size."""
    draw = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(70, 48, generator=draw).half().float(), torch.randn(70)
    for made, b in ((HalfLinear(weight, bias), bias), (HalfLinear(weight), None)):
        for shape in ((1, 1, 48), (1, 48), (1, 2, 48), (17, 48), (2, 40, 48), (0, 48)):
            x = 1e5 * torch.randn(*shape, generator=draw)  # more than float16 holds
            expected = torch.nn.functional.linear(x, weight, b)
            found = made(x)
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4 * 1e5)
    model = network()
    made, head = prepare(model, "float16")
    assert made.dtype == torch.float32 and head is not None
    assert {type(m.mlp.up) for m in made.blocks} == {type(head.output)} == {HalfLinear}
    assert type(model.blocks[0].mlp.up) is torch.nn.Linear


def test_without_such_products_float16_is_torchs_own(monkeypatch):
    monkeypatch.setattr(weights, "widens_half", lambda device: False)
    made, _ = prepare(network(), "float16")
    assert made.dtype == torch.float16 and isinstance(made.blocks[0].mlp.up, torch.nn.Linear)


def unpacked(dtype):
    reason = f"products of {dtype} are not packed on this CPU"
    return pytest.mark.skipif(not packs(torch.device("cpu"), dtype), reason=reason)


CLOSE = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (0.02, 0.1)}
LAYERS = [
    pytest.param(PackedLinear, torch.bfloat16, marks=unpacked(torch.bfloat16), id="packed half"),
    pytest.param(PackedLinear, torch.float32, marks=unpacked(torch.float32), id="packed"),
    pytest.param(TransposedLinear, torch.float32, id="transposed"),
]


@pytest.mark.parametrize("layer, dtype", LAYERS)
def test_quicker_layers_compute_the_same(layer, dtype):
    draw = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(*n, generator=draw).to(dtype) for n in ((70, 48), (70,)))
    rtol, atol = CLOSE[dtype]
    for made, b in ((layer(weight, bias), bias), (layer(weight), None)):
        for shape in ((1, 1, 48), (1, 48), (1, 2, 48), (17, 48), (2, 40, 48)):
            x = torch.randn(*shape, generator=draw).to(dtype)
            expected = torch.nn.functional.linear(
                x.float(), weight.float(), None if b is None else b.float()
            )
            found = made(x)
            assert found.dtype == dtype
            torch.testing.assert_close(found.float(), expected, rtol=rtol, atol=atol)


@pytest.mark.skipif(
    not packs(torch.device("cpu"), torch.float32), reason="products are not packed on this CPU"
)
def test_small_matrices_lie_as_they_are_multiplied_quickest():
    model = network(n_embd=64, vocab_size=SMALL // 64 + 1)
    for exact, small in ((False, TransposedLinear), (True, PackedLinear)):
        made, head = prepare(model, "float32", exact=exact)
        assert head is not None and isinstance(head.output, PackedLinear)
        assert all(isinstance(block.mlp.up, small) for block in made.blocks)


def test_only_what_lies_between_embeddings_is_replaced():
    tied = prepare(network(), "int8")[0]
    names = {n for n, m in tied.named_modules() if isinstance(m, Int8Linear)}
    layers = ("attention.qkv", "attention.out", "mlp.up", "mlp.down")
    assert names == {f"blocks.{i}.{name}" for i in range(2) for name in layers}
    own = prepare(network(tied_head=False), "int8")[0]
    assert isinstance(own.head, torch.nn.Linear)


def test_rows_that_depend_on_their_number_are_found():
    x = torch.randn(132, 8, generator=torch.Generator().manual_seed(0))

    def product(rows):  # as libraries do, which have a method of their own for few rows
        return rows * 3 + (1e-6 if len(rows) < 5 else 0)

    agree = {floor: runner._rows_agree(product, x, floor) for floor in (1, 2, 16, 32)}
    assert agree == {1: False, 2: False, 16: True, 32: True}
    first = runner._first_floor(lambda case, floor: agree[floor], "ab", (1, 2, 16, 32))
    assert first == 16
    assert runner._first_floor(lambda case, floor: agree[floor], "a", (1, 2)) is None


def test_the_trial_looks_at_every_product(monkeypatch):
    model, seen = network(tied_head=False), []

    def agree(product, rows, floor):
        seen.append((getattr(product, "out_features", None), rows.shape[-1], floor))
        return floor >= 16

    monkeypatch.setattr(runner, "_rows_agree", agree)
    found = Runner(model, "float32")
    assert found.exact and (found.row_floor, found.query_floor) == (16, 16)
    tried = {(out, size) for out, size, floor in seen if floor == 16 and out is not None}
    assert tried == {(96, 32), (32, 32), (128, 32), (32, 128), (61, 32)}
    monkeypatch.setattr(runner, "_rows_agree", lambda *arguments: False)
    assert not Runner(model, "float32").exact
