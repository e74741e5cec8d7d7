"""A model computes the same with fused kernels and with the plain formulas."""

from typing import Any

import gptpy_kernels
import pytest
import torch
from test_model_agreement import MODERN, SOURCE, draw_ids, make_model, step, worst
from torch import Tensor

from gptpy import GPTConfig
from gptpy.model.fast.fused import FUSIONS, applicable

MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "modern": ({**MODERN, "logit_softcap": 4.0}, {}),
    "untied, no weights in norms": (
        {**MODERN, "tied_head": False, "norm_affine": False, "n_head": 4, "head_dim": 16},
        {},
    ),
    "encoder-decoder": (
        {**MODERN, "architecture": "encoder-decoder", "n_encoder_layer": 1},
        {"source": SOURCE},
    ),
    "gpt2": ({}, {}),
}


def with_and_without(
    model: Any, fusions: Any, arguments: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One step without and one with the fusions, attention in plain torch."""
    model.select_fusions(())
    plain = step(model, "sdpa", arguments)
    model.select_fusions(fusions)
    return step(model, "sdpa", arguments), plain


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_step_with_one_fusion_agrees(fusion, kernel_device):
    settings, arguments = MODELS["modern"]
    model = make_model(settings, kernel_device)
    got, plain = with_and_without(model, [fusion], arguments)
    error, tensor = worst(got, plain)
    assert error <= 1e-5, f"{tensor}: relative error {error:.1e}"


@pytest.mark.parametrize("name", MODELS)
def test_a_step_with_all_that_apply_agrees(name, kernel_device):
    settings, arguments = MODELS[name]
    model = make_model({"n_layer": 1, **settings}, kernel_device)
    got, plain = with_and_without(model, applicable(model.config), arguments)
    error, tensor = worst(got, plain)
    assert error <= 1e-5, f"{tensor}: relative error {error:.1e}"


def test_every_kernel_is_launched(kernel_device, monkeypatch):
    """Every requested kernel runs; else plain formulas would be compared with themselves."""
    launched = []
    names = ("linear_cross_entropy", "rms_norm", "apply_rope", "swiglu")
    model = make_model(MODELS["modern"][0], kernel_device)
    model.select_fusions(FUSIONS)
    for name in names:
        function = getattr(gptpy_kernels, name)

        def counted(*arguments: Any, name: str = name, function: Any = function, **kw: Any) -> Any:
            launched.append(name)
            assert kw["backend"] == "triton"
            return function(*arguments, **kw)

        monkeypatch.setattr(gptpy_kernels, name, counted)
    step(model, "sdpa", {})
    # Two norms a layer and the last one; queries and keys; one MLP a layer; one loss.
    assert {name: launched.count(name) for name in names} == dict(
        zip(names, (1, 5, 4, 2), strict=True)
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_loss_reduces_and_ignores_as_before(reduction, kernel_device):
    model = make_model(MODELS["modern"][0], kernel_device)
    ids = draw_ids().to(kernel_device)
    targets = ids[:, 1:].clone()
    targets[0, 3:9] = -100
    losses = []
    for fusions in ((), ["cross_entropy"]):
        model.select_fusions(fusions)
        losses.append(model(ids[:, :-1], targets, reduction=reduction)[1])
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="reduction: expected 'mean', 'sum' or 'none'"):
        model(ids[:, :-1], targets, reduction="max")


def test_under_autocast_within_rounding(kernel_device):
    """Half precision in both: each is as far from float32 as the other."""
    model = make_model(MODELS["modern"][0], kernel_device)
    model.select_fusions(())
    exact = step(model, "sdpa", {})
    with torch.autocast(kernel_device.type, torch.bfloat16):
        got, plain = with_and_without(model, FUSIONS, {})
    for name in ("losses", "token_embedding.weight", "blocks.0.mlp.up.weight"):
        limit = 1.5 * worst({name: plain[name]}, {name: exact[name]})[0]
        assert worst({name: got[name]}, {name: exact[name]})[0] <= limit, name


@pytest.mark.slow
def test_compiles_as_one_graph(kernel_device):
    model = make_model(MODELS["modern"][0], kernel_device)
    model.select_fusions(FUSIONS)
    ids = draw_ids().to(kernel_device)
    want = model(ids[:, :-1], ids[:, 1:])[1]
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(ids[:, :-1], ids[:, 1:])[1], want)


def test_off_unless_asked_for(kernel_device, caplog):
    model = make_model(MODERN, kernel_device)
    with caplog.at_level("INFO"):
        names, reason = model.select_fusions()
    assert names == model.fusions == frozenset()
    assert "not measured to pay" in reason and "fused kernels: none (off" in caplog.text
    assert applicable(GPTConfig()) == {"cross_entropy"}
    assert applicable(GPTConfig(**MODERN)) == set(FUSIONS)


def test_requests_that_cannot_be_met_are_errors(kernel_device, monkeypatch):
    model = make_model({}, kernel_device)
    with pytest.raises(ValueError, match=r"expected some of cross_entropy, .*, got gelu"):
        model.select_fusions(["gelu"])
    with pytest.raises(ValueError, match=r"rope, swiglu asked for, but .*position = 'learned'"):
        model.select_fusions(["rope", "swiglu", "cross_entropy"])
    monkeypatch.setattr(gptpy_kernels, "available", lambda device: (False, "no such device"))
    with pytest.raises(ValueError, match="asked for, but no such device: leave them off"):
        model.select_fusions(["cross_entropy"])
    assert model.fusions == frozenset()


@pytest.mark.parametrize("fusion,function", [
    ("cross_entropy", "linear_cross_entropy"), ("rope", "apply_rope"), ("swiglu", "swiglu"),
])  # fmt: skip
def test_the_probe_finds_a_wrong_kernel(fusion, function, kernel_device, monkeypatch):
    model = make_model(MODERN, kernel_device)
    right = getattr(gptpy_kernels, function)
    monkeypatch.setattr(gptpy_kernels, function, lambda *a, **kw: right(*a, **kw) * 1.01)
    with pytest.raises(ValueError, match=f"{fusion} was off by"):
        model.select_fusions([fusion])

    def broken(*arguments: Any, **kw: Any) -> Any:
        raise RuntimeError("no compiler\nsecond line")

    monkeypatch.setattr(gptpy_kernels, function, broken)
    with pytest.raises(ValueError, match=rf"{fusion} failed to launch \(RuntimeError: no compiler"):
        model.select_fusions([fusion])
