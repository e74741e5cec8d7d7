"""Schedules by points computed by hand; Muon against torch's."""

import pytest
import torch

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.training import OptimConfig, ScheduleConfig
from gptpy.model import GPT, build_model
from gptpy.train.optimisers import Muon, build_optimizers, orthogonalise
from gptpy.train.schedules import multiplier
from gptpy.train.update import set_momentum, set_rates


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("constant", {0.0: 1, 0.5: 1, 1.0: 1}),
        ("linear", {0.0: 1, 0.5: 0.55, 1.0: 0.1}),
        ("cosine", {0.0: 1, 0.5: 0.55, 1.0: 0.1, 0.25: 0.1 + 0.9 * 0.8535534}),
        ("wsd", {0.0: 1, 0.6: 1, 0.8: 0.55, 1.0: 0.1, 1.5: 0.1}),
    ],
)
def test_decay_follows_progress(kind, points):
    config = ScheduleConfig(kind=kind, warmup_steps=0, decay_fraction=0.4, floor=0.1)
    for progress, expected in points.items():
        assert multiplier(config, 1000, progress) == pytest.approx(expected)


def test_warm_up_goes_by_steps():
    config = ScheduleConfig(kind="constant", warmup_steps=4)
    assert [multiplier(config, s, 0.0) for s in range(5)] == [0.25, 0.5, 0.75, 1, 1]


def test_muon_moves_as_torch_does():
    torch.manual_seed(0)
    shapes = [(16, 16), (48, 16), (16, 48), (16, 16)]
    ours = [torch.nn.Parameter(torch.randn(s)) for s in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    muon = Muon(ours, lr=0.02, momentum=0.9, weight_decay=0.1)
    # Both keep a moving average of the gradient and look ahead by Nesterov's rule; both decay the
    # weights before they move them
    peer = torch.optim.Muon(theirs, lr=0.02, momentum=0.9, weight_decay=0.1)
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        muon.step()
        peer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)  # both iterate in bfloat16


def test_stacked_matrices_are_orthogonalised_each_by_itself():
    torch.manual_seed(0)
    parts = [torch.randn(8, 8), 100 * torch.randn(8, 8), torch.randn(8, 8)]
    stacked = torch.nn.Parameter(torch.zeros(24, 8))
    single = [torch.nn.Parameter(torch.zeros(8, 8)) for _ in parts]
    stacked.grad = torch.cat(parts)
    for parameter, grad in zip(single, parts, strict=True):
        parameter.grad = grad
    Muon([{"params": [stacked], "row_splits": [[8, 8, 8]]}]).step()
    Muon(single).step()
    torch.testing.assert_close(stacked.detach(), torch.cat([p.detach() for p in single]))


def test_orthogonalised_singular_values_are_near_one():
    torch.manual_seed(0)
    for shape in [(3, 16, 16), (2, 32, 8), (2, 8, 32)]:
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)).float())
        assert values.min() > 0.5 and values.max() < 1.3


def test_a_torch_without_its_cpu_library_multiplies_in_float32(monkeypatch):
    class Missing:
        def __getattr__(self, name):
            raise AttributeError(name)  # as torch.ops says of an operator that was not built

    monkeypatch.setattr(torch.ops, "mkldnn", Missing())
    one = torch.eye(4)[None]
    exact = orthogonalise(one.double()).float()
    torch.testing.assert_close(orthogonalise(one), exact, atol=1e-5, rtol=0)


def test_every_parameter_is_moved_once():
    model = GPT(GPTConfig.preset("modern-1m", n_layer=2))
    for name in ("adamw", "muon"):
        optimizers = build_optimizers(model, OptimConfig(name=name, head_lr=0.5))
        moved = [p for o in optimizers for g in o.param_groups for p in g["params"]]
        assert len(moved) == len({id(p) for p in moved}) == len(list(model.parameters()))
        rates = {g["name"]: g["peak_lr"] for o in optimizers for g in o.param_groups}
        assert rates["head"] == 0.5
        set_rates(optimizers, 0.5)
        assert all(g["lr"] == g["peak_lr"] / 2 for o in optimizers for g in o.param_groups)


def test_muon_momentum_warms_up():
    model = GPT(GPTConfig.preset("modern-1m", n_layer=1))
    config = OptimConfig(name="muon", muon_momentum=0.95, muon_momentum_warmup=10)
    optimizers = build_optimizers(model, config)
    seen = []
    for step in (0, 5, 10, 99):
        set_momentum(optimizers, config, step)
        seen.append(optimizers[0].param_groups[0]["momentum"])
    assert seen == pytest.approx([0.85, 0.9, 0.95, 0.95])


def test_muon_without_matrices_is_refused():
    with pytest.raises(ConfigError, match="matrices"):
        build_optimizers(build_model(GPTConfig.preset("bigram")), OptimConfig(name="muon"))
    with pytest.raises(ValueError, match="matrices, got shape"):
        Muon([torch.nn.Parameter(torch.zeros(3))])
