"""Fused attention against a float64 oracle: numbers and gradients of every feature at odd sizes."""

import math
from typing import Any

import attention_oracle
import pytest
import torch
from gptpy_kernels import attention_reference, causal_attention
from gptpy_kernels.attention import configs, reference

# Relative error (Frobenius norm) that rounding alone explains, for outputs and for gradients.
TOLERANCE = {torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}
SEED = 2**40 + 5

SLOPES = torch.tensor([0.5, 0.0625])
SINKS = torch.tensor([0.5, -1.0])
PACKED = torch.tensor([0, 3, 3, 30, 41])


def case(name: str, *, T: int = 41, S: int = 41, H: int = 2, H_kv: int = 2, D: int = 16, **kw: Any):
    return pytest.param({"sizes": (T, S, H, H_kv, D), **kw}, id=name)


def one_head(name: str, **kw: Any):
    """For what does not ask which head it is: interpreting takes time in proportion."""
    return case(name, **{"H": 1, "H_kv": 1, **kw})


FEATURES = [
    case("causal"),
    one_head("full", causal=False),
    one_head("cached prefix", T=9, S=41),
    one_head("more queries than keys", T=41, S=9),
    one_head("one query", T=1, S=33),
    one_head("one key", T=1, S=1),
    one_head("block multiples", T=64, S=64),
    case("grouped heads", H=4, H_kv=2),
    case("one key head", H=3, H_kv=1),
    one_head("window", window=7),
    one_head("window of one", window=1),
    one_head("window past the start", window=100),
    one_head("window, both directions", window=7, causal=False),
    one_head("window, cached prefix", T=9, S=41, window=20),
    one_head("window, more queries than keys", T=41, S=9, window=4, causal=False),
    one_head("soft cap", softcap=1.5),
    case("alibi", alibi_slopes=SLOPES),
    case("alibi, full", alibi_slopes=SLOPES, causal=False),
    case("alibi, cached prefix", alibi_slopes=SLOPES, T=9, S=41),
    case("sinks", sinks=SINKS),
    case("sinks on empty rows", sinks=SINKS, T=41, S=9),
    one_head("packed documents", cu_seqlens=PACKED),
    one_head("packed documents, full", cu_seqlens=PACKED.int(), causal=False),
    one_head("packed documents, window", cu_seqlens=PACKED, window=6),
    case("packed documents, two rows", cu_seqlens=torch.tensor([0, 7, 30, 50, 82]), B=2),
    one_head("one document", cu_seqlens=torch.tensor([0, 41])),
    case("key padding", key_padding_mask="random", B=2),
    one_head("key padding, full", key_padding_mask="random", causal=False, B=2),
    one_head("nothing visible", key_padding_mask="none"),
    case("dropout", dropout_p=0.3),
    one_head("scale", scale=0.3),
    one_head("head dim 24", D=24),
    case("head dim 40", D=40, H_kv=1),
    case(
        "everything", H=2, H_kv=1, window=9, softcap=2.0, cu_seqlens=PACKED, sinks=SINKS,
        key_padding_mask="random", alibi_slopes=SLOPES, dropout_p=0.2,
    ),
]  # fmt: skip
CORE = [
    case("causal"),
    case("full, grouped heads", causal=False, H=4, H_kv=2),
    case("cached prefix", T=9, S=41),
    case("soft cap", softcap=1.5),
    case("sinks", sinks=SINKS),
    case("packed documents, window", cu_seqlens=PACKED, window=6),
]


def make_inputs(arguments: dict[str, Any], dtype: torch.dtype) -> tuple[list, dict[str, Any]]:
    """[q, k, v, grad_out, grad_lse] in float64 that `dtype` can hold, and the other arguments."""
    arguments = dict(arguments)
    T, S, H, H_kv, D = arguments.pop("sizes")
    B = arguments.pop("B", 1)
    generator = torch.Generator().manual_seed(T * 1000 + S * 10 + D)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype).double()

    tensors = [draw(B, T, H, D), draw(B, S, H_kv, D), draw(B, S, H_kv, D), draw(B, T, H, D)]
    tensors.append(torch.randn(B, H, T, generator=generator).double())
    if arguments.get("key_padding_mask") == "random":
        mask = torch.rand(B, S, generator=generator) > 0.4
        mask[0, :5] = False  # the first causal rows see nothing
        arguments["key_padding_mask"] = mask
    elif arguments.get("key_padding_mask") == "none":
        arguments["key_padding_mask"] = torch.zeros(B, S, dtype=torch.bool)
    return tensors, arguments


def differentiate(function: Any, tensors: list, arguments: dict[str, Any]) -> list[torch.Tensor]:
    """[out, lse, dq, dk, dv, (d sinks)] of a function with `return_lse`, -inf replaced by 0."""
    q, k, v = (x.clone().requires_grad_() for x in tensors[:3])
    arguments = dict(arguments)
    leaves = [q, k, v]
    if arguments.get("sinks") is not None:
        arguments["sinks"] = arguments["sinks"].clone().requires_grad_()
        leaves.append(arguments["sinks"])
    out, lse = function(q, k, v, **arguments)
    lse = torch.where(lse == -math.inf, torch.zeros_like(lse), lse)
    loss = (out * tensors[3]).sum() + (lse * tensors[4]).sum()
    return [out, lse, *torch.autograd.grad(loss, leaves)]


def expected(tensors: list, arguments: dict[str, Any]) -> list[torch.Tensor]:
    arguments = dict(arguments)
    if arguments.get("dropout_p"):
        B, T, H, _ = tensors[0].shape
        S = tensors[1].shape[1]
        arguments["kept"] = reference.dropout_kept(SEED, arguments["dropout_p"], B, H, T, S)
    return differentiate(attention_oracle.attention, tensors, arguments)


def compare(got: list, want: list[torch.Tensor], tolerance: float) -> None:
    names = ("out", "lse", "dq", "dk", "dv", "dsinks")
    for name, a, b in zip(names, got, want, strict=False):
        a, b = a.detach().cpu().double(), b.detach().double()
        assert a.shape == b.shape, name
        assert torch.isfinite(a).all(), f"{name} is not finite"
        error, size = (a - b).norm().item(), b.norm().item()
        assert error <= tolerance * size + 1e-7, f"{name}: relative error {error / (size or 1):.1e}"
        assert (a - b).abs().max() <= 8 * tolerance * b.abs().max() + 1e-6, f"{name}: an outlier"


def run(arguments: dict[str, Any], dtype: torch.dtype, backend: Any, device: torch.device) -> None:
    tensors, arguments = make_inputs(arguments, dtype)
    want = expected(tensors, arguments)

    def function(q, k, v, **kw):
        if kw.get("dropout_p"):
            kw["seed"] = SEED
        return causal_attention(q, k, v, return_lse=True, backend=backend, **kw)

    tensors = [x.to(device, dtype) for x in tensors[:4]] + [tensors[4].to(device, torch.float32)]
    moved = {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in arguments.items()
    }
    compare(differentiate(function, tensors, moved), want, TOLERANCE[dtype])


@pytest.fixture(autouse=True)
def uninitialised_is_nan():
    """What a kernel forgets to write shows up as NaN."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # pyright: ignore
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("arguments", FEATURES)
def test_kernel_equals_oracle(arguments, kernel_device):
    run(arguments, torch.float32, "triton", kernel_device)


@pytest.mark.parametrize("arguments", CORE)
def test_kernel_equals_oracle_in_bfloat16(arguments, kernel_device):
    run(arguments, torch.bfloat16, "triton", kernel_device)


@pytest.mark.parametrize("arguments", CORE[1:2])
def test_kernel_equals_oracle_in_float16(arguments, kernel_device):
    """Of the slow tests this is a sample: the kernels' code is the same in both half types."""
    run(arguments, torch.float16, "triton", kernel_device)


QUICK = [(32, torch.float16), (64, torch.bfloat16), (128, torch.float32), (128, torch.bfloat16)]


@pytest.mark.parametrize("D,dtype", [
    pytest.param(D, dtype, marks=() if (D, dtype) in QUICK else pytest.mark.slow)
    for D in (32, 64, 128) for dtype in TOLERANCE
], ids=str)  # fmt: skip
def test_kernel_equals_oracle_at_common_head_dims(D, dtype, kernel_device):
    run({"sizes": (35, 35, 1, 1, D)}, dtype, "triton", kernel_device)


@pytest.mark.parametrize(
    "arguments",
    [
        case("causal", T=75, S=75),
        case("window", T=75, S=75, window=50),
        case("window, both directions", T=75, S=75, window=50, causal=False),
        case("packed documents", T=75, S=75, cu_seqlens=torch.tensor([0, 18, 75]), window=40),
    ],
)
def test_runs_of_full_blocks(arguments, kernel_device):
    """Tiles so small that intervals of keys have masked, full and masked blocks."""
    tile = configs.TileConfig(16, 16, 4, 1)
    places = [(kernel, level) for kernel in configs.KERNELS for level in configs.LEVELS]
    for kernel, level in places:
        configs.override(kernel, 16, 4, tile, level)
    try:
        run(arguments, torch.float32, "triton", kernel_device)
    finally:
        for kernel, level in places:
            configs.override(kernel, 16, 4, None, level)


@pytest.mark.slow
@pytest.mark.parametrize("D", [80, 96, 192, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("features", [{}, {"softcap": 2.0, "window": 30}], ids=["plain", "capped"])
def test_kernel_equals_oracle_at_large_head_dims(D, dtype, features, kernel_device):
    run({"sizes": (77, 77, 2, 1, D), **features}, dtype, "triton", kernel_device)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("arguments", FEATURES)
def test_every_feature_in_half_precision(arguments, dtype, kernel_device):
    run(arguments, dtype, "triton", kernel_device)


@pytest.mark.parametrize("arguments", FEATURES)
def test_reference_equals_oracle(arguments):
    run(arguments, torch.float32, "reference", torch.device("cpu"))


def test_plain_reference_is_differentiable_twice():
    q, k, v = (torch.randn(1, 5, 1, 16, dtype=torch.float64, requires_grad=True) for _ in range(3))

    def function(q, k, v):
        return attention_reference(q, k, v, softcap=2.0, window=3)

    assert torch.autograd.gradgradcheck(function, (q, k, v))


@pytest.mark.parametrize("layout", ["fused qkv", "heads first", "sliced head dim", "expanded"])
def test_any_strides_without_copies(layout, kernel_device):
    generator = torch.Generator().manual_seed(1)
    B, T, H, D = 2, 37, 2, 16
    if layout == "fused qkv":
        qkv = torch.randn(B, T, 3, H, D, generator=generator).to(kernel_device)
        q, k, v = qkv.unbind(2)
    elif layout == "heads first":
        q, k, v = torch.randn(3, B, H, T, D, generator=generator).to(kernel_device).transpose(2, 3)
    elif layout == "sliced head dim":
        wide = torch.randn(3, B, T, H, 2 * D, generator=generator).to(kernel_device)
        q, k, v = wide[..., ::2]
    else:
        q, k, v = torch.randn(3, 1, T, H, D, generator=generator).to(kernel_device)
        q, k, v = (x.expand(B, T, H, D) for x in (q, k, v))
    out = causal_attention(q, k, v, backend="triton")
    plain = causal_attention(q.contiguous(), k.contiguous(), v.contiguous(), backend="triton")
    assert torch.equal(out, plain)


@pytest.mark.parametrize("T,S", [(0, 0), (0, 5), (5, 0)])
def test_empty_sizes(T, S, kernel_device):
    q = torch.randn(1, T, 2, 16, device=kernel_device, requires_grad=True)
    k, v = (torch.randn(1, S, 2, 16, device=kernel_device, requires_grad=True) for _ in range(2))
    for backend in ("triton", "reference"):
        out = causal_attention(q, k, v, backend=backend)
        gradients = torch.autograd.grad(out.sum(), (q, k, v))
        assert out.shape == q.shape and not out.any()
        assert all(not gradient.any() for gradient in gradients)


def test_dropout_replays_its_seed(kernel_device):
    q, k, v = torch.randn(3, 1, 33, 2, 16, device=kernel_device)

    def call(seed, backend: Any = "triton"):
        return causal_attention(q, k, v, dropout_p=0.5, seed=seed, backend=backend)

    assert torch.equal(call(7), call(7))
    assert not torch.equal(call(7), call(8))
    assert not torch.equal(call(7), call(7 + 2**32)), "the seed's upper half counts"
    torch.testing.assert_close(call(7), call(7, "reference"), rtol=1e-5, atol=1e-5)
    torch.manual_seed(3)
    first = causal_attention(q, k, v, dropout_p=0.5, backend="triton")
    torch.manual_seed(3)
    assert torch.equal(first, causal_attention(q, k, v, dropout_p=0.5, backend="triton"))


def test_dropout_keeps_the_share_asked_for():
    kept = reference.dropout_kept(11, 0.3, 2, 4, 100, 100)
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.005)
    rows = kept.float().mean(-1)
    assert rows.std().item() == pytest.approx(math.sqrt(0.21 / 100), rel=0.1)


def test_philox_known_answers():
    """Random123's published vectors for Philox-4x32 with ten rounds, counters (0, 0, 0, 0)."""
    zero = torch.zeros((), dtype=torch.int64)
    assert int(reference.philox_draw(0, zero, zero, zero, rounds=10)) == 0x6627E8D5


def test_backward_is_deterministic(kernel_device):
    tensors, _ = make_inputs({"sizes": (41, 41, 4, 2, 16)}, torch.float32)
    leaves = [x.float().to(kernel_device).requires_grad_() for x in tensors[:3]]
    g = tensors[3].float().to(kernel_device)
    results = []
    for _ in range(2):
        out = causal_attention(*leaves, backend="triton")
        results.append(torch.autograd.grad(out, leaves, g))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
