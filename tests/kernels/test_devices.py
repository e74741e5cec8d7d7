"""Launches as a GPU would see them, without one: fake CUDA tensors, recorded instead of launched.

A fake tensor has no values, so whatever would wait for the device raises.
"""

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gptpy_kernels import availability, fused
from gptpy_kernels.attention import configs, launch
from gptpy_kernels.attention.options import AttentionOptions, check_cu_seqlens, check_options
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

DEVICE = torch.device("cuda:1")


class Recorder:
    """Stands in for a Triton kernel: keeps the device that was current at every launch."""

    def __init__(self, current: list[Any]):
        self.current, self.launches = current, []

    def __getitem__(self, grid: Any):
        def launched(*arguments: Any, **constants: Any) -> None:
            self.launches.append((self.current[-1] if self.current else None, grid, constants))

        return launched


@pytest.fixture
def gpu(monkeypatch):
    """Fake tensors on cuda:1, every kernel recorded; yields the record."""
    pytest.importorskip("triton")
    from gptpy_kernels.attention import backward_keys, backward_queries, forward
    from gptpy_kernels.decoding import kernel as decoding
    from gptpy_kernels.fused import (
        cross_entropy_kernel,
        rms_norm_kernel,
        rope_kernel,
        swiglu_kernel,
    )

    current: list[torch.device] = []

    @contextlib.contextmanager
    def device(which):
        current.append(which)
        yield
        current.pop()

    recorder = Recorder(current)
    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    properties = type("Properties", (), {"multi_processor_count": 108})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: properties)
    modules = (
        backward_keys, backward_queries, forward, decoding, cross_entropy_kernel, rms_norm_kernel,
        rope_kernel, swiglu_kernel,
    )  # fmt: skip
    for module in modules:
        for name in [n for n in vars(module) if n.endswith("_kernel")]:
            monkeypatch.setattr(module, name, recorder)
    for module in (fused.cross_entropy, fused.rms_norm, fused.rope, fused.swiglu):
        space = __import__("sys").modules[module.__module__] if callable(module) else module
        monkeypatch.setattr(space, "choose_backend", lambda *_: "triton")
    monkeypatch.setattr(Tensor, "data_ptr", lambda self: 0)
    with FakeTensorMode():
        yield recorder


def draw(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(*shape, device=DEVICE, dtype=dtype)


def options(**features: Any) -> AttentionOptions:
    return AttentionOptions(0.125, **features)


def test_attention_launches_on_the_device_of_its_tensors(gpu):
    q, k, v, g = draw(2, 300, 4, 64), draw(2, 300, 2, 64), draw(2, 300, 2, 64), draw(2, 300, 4, 64)
    everything = options(
        window=7,
        softcap=2.0,
        dropout_p=0.5,
        cu_seqlens=torch.empty(4, device=DEVICE, dtype=torch.int32),
        key_padding_mask=torch.empty(2, 300, device=DEVICE, dtype=torch.bool),
        sinks=torch.empty(4, device=DEVICE),
        seed=torch.empty((), device=DEVICE, dtype=torch.int64),
    )
    check_options(q, k, everything)
    assert everything.cu_seqlens is not None
    check_cu_seqlens(everything.cu_seqlens, 600)  # the device asserts, nobody waits
    for asked in (options(), everything):
        out, lse = launch.attention_forward(q, k, v, asked)
        launch.attention_backward(g, None, q, k, v, out, lse, asked)
    assert [device for device, *_ in gpu.launches] == [DEVICE] * 8


def test_other_kernels_launch_there_too(gpu):
    from gptpy_kernels import decoding

    lengths = torch.empty(2, device=DEVICE, dtype=torch.int32)
    decoding._launch(
        draw(2, 1, 4, 64), draw(2, 99, 2, 64), draw(2, 99, 2, 64), lengths, None, options()
    )
    assert len(gpu.launches) == 2
    import sys

    modules = {name: sys.modules[f"gptpy_kernels.fused.{name}"] for name in (
        "cross_entropy", "rms_norm", "rope", "swiglu")}  # fmt: skip
    x, weight = draw(5, 64), draw(64)
    targets = torch.empty(5, device=DEVICE, dtype=torch.int64)
    losses, lse = modules["cross_entropy"]._forward._init_fn(x, targets, 0.0, -100, "triton")
    modules["cross_entropy"]._backward._init_fn(losses, x, targets, lse, 0.0, -100, "triton")
    _, total, rstd = modules["rms_norm"]._forward._init_fn(x, x, weight, 1e-5, x.dtype, "triton")
    modules["rms_norm"]._backward._init_fn(x, None, total, weight, rstd, "triton")
    angles = draw(1, 5, 32)
    modules["rope"]._operator._init_fn(draw(1, 5, 4, 64), angles, angles, 1.0, "triton")
    y = modules["swiglu"]._forward._init_fn(x, "triton")
    modules["swiglu"]._backward._init_fn(y, x, "triton")
    assert [device for device, *_ in gpu.launches] == [DEVICE] * 9


@pytest.fixture
def amd(monkeypatch):
    """An AMD device as torch shows it: "cuda", with a capability that looks like Hopper's."""
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(torch.version, "hip", "6.4")
    properties = SimpleNamespace(gcnArchName="gfx942:sramecc+:xnack-", multi_processor_count=304)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: properties)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "AMD Instinct MI300X")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return properties


def test_amd_is_refused_by_architecture_not_by_name(amd):
    pytest.importorskip("triton")
    ready, reason = availability.available("cuda")
    assert ready and reason.startswith("AMD Instinct MI300X, gfx942: compiles, unmeasured")
    with FakeTensorMode():
        q = draw(1, 5, 2, 64)
        assert availability.choose_backend(q, "") == "reference", "off unless asked for"
        assert availability.choose_backend(q, "triton") == "triton"
    amd.gcnArchName = "gfx90a:sramecc+:xnack-"
    ready, reason = availability.available("cuda")
    assert not ready and "gfx90a; the kernels are compiled for gfx942 only" in reason


def test_amd_has_tiles_of_its_own_and_no_bulk_copies(gpu, amd, monkeypatch):
    assert configs.device_class(DEVICE) == "amd"
    assert launch.matmul_precision(torch.float32, DEVICE) == "ieee", "it has no TF32 in parts"
    q, k, v = draw(1, 300, 2, 128), draw(1, 300, 2, 128), draw(1, 300, 2, 128)
    launch.attention_forward(q, k, v, options())
    _device, _grid, constants = gpu.launches[-1]
    entry = configs.TABLE["amd", 2, "forward", "causal"][128]
    assert not constants["TMA"] and constants["PRECISION"] == "ieee"
    assert (constants["BLOCK_M"], constants["BLOCK_N"]) == (entry.block_m, entry.block_n)


def test_tensors_on_two_devices_are_refused(gpu):
    q = draw(1, 5, 2, 64)
    from gptpy_kernels.devices import on_device_of

    with pytest.raises(ValueError, match="all tensors on cuda:1, got one on cuda:0"):
        on_device_of(q, gpu)[(1,)](q, q.to("cuda:0"))


@pytest.mark.parametrize("capability", [(9, 0), (10, 0)])
def test_tensors_that_bulk_copies_cannot_address_have_tiles_of_their_own(
    capability, gpu, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    kind = configs.device_class(DEVICE)
    described: list[Any] = []
    monkeypatch.setattr(launch, "_descriptor", lambda x, *_: described.append(x))
    q, k, v = draw(1, 300, 2, 128), draw(1, 300, 2, 128), draw(1, 300, 2, 128)
    out, lse = launch.attention_forward(q, k, v, options())
    g = torch.ones((), device=DEVICE, dtype=q.dtype).expand(q.shape)  # of out.sum()
    launch.attention_backward(g, None, q, k, v, out, lse, options())
    forward, _sums, keys, queries = (constants for _, _, constants in gpu.launches)
    assert len(described) == 3 and forward["TMA"], "only the forward kernel copies in bulk"
    for name, constants in (("key_gradient", keys), ("query_gradient", queries)):
        entry = configs.choose(name, configs.WITHOUT_TMA[kind], 128, 2, "causal")
        assert not entry.tma and not constants["TMA"]
        assert (constants["BLOCK_M"], constants["BLOCK_N"]) == (entry.block_m, entry.block_n)


@pytest.mark.parametrize("kind", sorted(configs.CLASS_ARCHITECTURES))
@pytest.mark.parametrize("level", configs.LEVELS)
@pytest.mark.parametrize("kernel", configs.KERNELS)
def test_every_class_has_tiles_for_every_level_and_head_dim(
    kernel, level, kind, caplog, monkeypatch
):
    """Windows, documents, soft cap: a tile of the class's own, which the compile gates have passed.

    One for more features serves where there is none for fewer; it asks more of the registers.
    """
    monkeypatch.setattr(configs, "_warned", set())
    pointers = kind in configs.WITHOUT_TMA.values()  # float32 copies nothing in bulk anywhere
    for size, dim in ((2, 64), (2, 128), (2, 256), *(() if pointers else ((4, 64), (4, 128)))):
        entry = configs.choose(kernel, kind, dim, size, level)
        wider = configs.LEVELS[configs.LEVELS.index(level) :]
        own = [configs.TABLE.get((kind, size, kernel, name), {}).get(dim) for name in wider]
        assert entry == next(tile for tile in own if tile is not None)
        assert not caplog.records


def test_float32_has_one_table_whatever_the_strides(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    q = draw(1, 300, 2, 128, dtype=torch.float32)
    k = q[:, :1].expand(q.shape)  # no bulk copy could address it
    launch.attention_forward(q, k, k, options())
    entry = configs.TABLE["hopper", 4, "forward", "causal"][128]
    _device, _grid, constants = gpu.launches[-1]
    assert (constants["BLOCK_M"], constants["BLOCK_N"]) == (entry.block_m, entry.block_n)


def test_a_missing_entry_takes_a_neighbour_and_says_so(caplog, monkeypatch):
    table = {("small", 2, "forward", "everything"): {128: configs.TileConfig(64, 32, 4, 2)}}
    monkeypatch.setattr(configs, "TABLE", table)
    monkeypatch.setattr(configs, "_warned", set())
    for _ in range(2):
        entry = configs.choose("forward", "large", 64, 2, "causal")
        assert entry == configs.TileConfig(64, 32, 4, 2)
    assert "no tile for large devices at D = 64" in caplog.text
    assert "small devices at D = 128 (64 x 32)" in caplog.text and len(caplog.records) == 1
    assert configs.choose("key_gradient", "large", 64, 2, "causal") == configs.SMALLEST
