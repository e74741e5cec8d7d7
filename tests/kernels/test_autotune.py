"""The tuner: which tiles it tries on which device, what it throws away, what it keeps."""

from collections.abc import Callable

import pytest
import torch
from gptpy_kernels.attention import autotune, configs, launch
from gptpy_kernels.attention.configs import TABLE, TileConfig


@pytest.mark.parametrize("kind", sorted(configs.CLASS_ARCHITECTURES))
@pytest.mark.parametrize("kernel", configs.KERNELS)
def test_candidates_fit_the_device(kind, kernel):
    found = autotune.candidates(kernel, 64, 2, kind)
    assert TABLE[kind, 2, kernel, "causal"][64] in found, "the static entry competes"
    assert len(found) == len(set(found)) > 1
    limit = configs.shared_memory_limit(kind)
    for config in found:
        origins = [
            source
            for (source, size, name, _), entries in TABLE.items()
            if size == 2 and name == kernel
            for entry in entries.values()
            if entry._replace(tma=config.tma) == config
        ]
        assert min(map(configs.shared_memory_limit, origins)) <= limit
        assert not config.tma or kind in ("hopper", "blackwell")
    if kind == "small":
        larger = set(autotune.candidates(kernel, 64, 2, "large"))
        assert not set(found) - larger, "fewer than on a device with more shared memory"


@pytest.fixture
def restored():
    yield
    for kernel in configs.KERNELS:
        configs.override(kernel, 16, 4, None)


def test_the_fastest_is_kept_and_failures_are_skipped(kernel_device, restored, monkeypatch):
    if kernel_device.type != "cpu":
        pytest.skip("a GPU may refuse candidates that the interpreter takes")
    kind = configs.device_class(kernel_device)
    tried: list[tuple[str, TileConfig]] = []

    def current(kernel: str) -> TileConfig:
        return configs.choose(kernel, kind, 16, 4, "causal")

    def measure(function: Callable[[], object]) -> float:
        function()
        config = current(tuning[0])
        tried.append((tuning[0], config))
        if config.block_m == 64:
            raise RuntimeError("out of resources: shared memory")
        return 100.0 / config.block_m + config.num_warps

    tuning = [""]
    real = autotune.candidates

    def announced(kernel: str, *rest) -> list[TileConfig]:
        tuning[0] = kernel
        return real(kernel, *rest)

    monkeypatch.setattr(autotune, "candidates", announced)
    best = autotune.tune(16, torch.float32, T=40, heads=1, device=kernel_device, measure=measure)
    assert set(best) == set(configs.KERNELS)
    for kernel in configs.KERNELS:
        mine = [config for name, config in tried if name == kernel]
        assert mine == real(kernel, 16, 4, kind), "every candidate was measured"
        sound = [config for config in mine if config.block_m != 64]
        fastest = min(sound, key=lambda c: 100.0 / c.block_m + c.num_warps)
        assert best[kernel][0] == current(kernel) == fastest
    untouched = configs.choose("forward", kind, 16, 4, "everything")
    assert untouched == TileConfig(32, 32, 4, 1) != best["forward"][0], "other calls stay"


def test_a_candidate_with_other_numbers_is_thrown_away(kernel_device, restored, monkeypatch):
    right = launch.attention_forward

    def wrong(*arguments):
        out, lse = right(*arguments)
        tuned = ("forward", 16, 4, "causal") in configs._overrides
        return (out * 1.01 if tuned else out), lse

    monkeypatch.setattr(launch, "attention_forward", wrong)
    best = autotune.tune(
        16, torch.float32, T=40, heads=1, device=kernel_device, measure=lambda function: 1.0
    )
    assert "forward" not in best and "key_gradient" in best
    assert ("forward", 16, 4, "causal") not in configs._overrides, "the static table stays"
