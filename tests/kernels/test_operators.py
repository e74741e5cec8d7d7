"""The operators inside torch: compilers, checkpointing, export, autocast, clear errors."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from gptpy_kernels import (
    attention_reference,
    available,
    causal_attention,
    cross_entropy,
    rms_norm,
)
from gptpy_kernels.attention import operators  # noqa: F401  registers torch.ops.gptpy
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode


def tensors(T: int = 9, S: int = 9, H: int = 2, H_kv: int = 2, D: int = 16, B: int = 1, **kw: Any):
    q = torch.randn(B, T, H, D, **kw)
    return q, torch.randn(B, S, H_kv, D, **kw), torch.randn(B, S, H_kv, D, **kw)


VARIANTS = {
    "plain": {},
    "documents": {"cu_seqlens": torch.tensor([0, 4, 9]), "window": 3},
    "sinks": {"sinks": torch.zeros(2, requires_grad=True), "softcap": 2.0},
    "dropout": {"dropout_p": 0.5, "seed": 3},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_opcheck(variant):
    q, k, v = tensors(requires_grad=True)
    numbers = {"scale": 0.25, "causal": True, "window": 0, "softcap": 0.0, "dropout_p": 0.0}
    side: dict[str, Any] = dict.fromkeys(
        ("cu_seqlens", "key_padding_mask", "alibi_slopes", "sinks", "seed")
    )
    for name, value in VARIANTS[variant].items():
        (numbers if name in numbers else side)[name] = value
    if side["seed"] is not None:
        side["seed"] = torch.tensor(side["seed"])
    torch.library.opcheck(
        torch.ops.gptpy.attention_forward.default,
        (q, k, v, *numbers.values(), *side.values(), ""),
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_compiled_equals_eager_at_changing_lengths(variant):
    arguments = VARIANTS[variant]

    def function(q, k, v):
        return causal_attention(q, k, v, **arguments).sin().sum()

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for T in (9,) if "cu_seqlens" in arguments else (9, 17, 33):
        leaves = tensors(T, T, requires_grad=True)
        want = torch.autograd.grad(function(*leaves), leaves)
        got = torch.autograd.grad(compiled(*leaves), leaves)
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_numbers_of_heads_and_rows_may_have_strides(backend, kernel_device):
    """Slopes, sinks, weights and targets that are columns of something wider."""

    def spread(x: torch.Tensor) -> torch.Tensor:
        wide = torch.full((len(x), 3), 7, dtype=x.dtype, device=x.device)
        wide[:, 1] = x
        return wide[:, 1]

    def run(form: Any) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        q, k, v = torch.randn(3, 1, 9, 4, 16, generator=generator).to(kernel_device)
        slopes, sinks = torch.rand(2, 4, generator=generator).to(kernel_device)
        weight = torch.rand(16, generator=generator).to(kernel_device).requires_grad_()
        targets = torch.randint(16, (9,), generator=generator).to(kernel_device)
        leaf = q.requires_grad_()
        out = causal_attention(
            leaf, k, v, alibi_slopes=form(slopes), sinks=form(sinks), backend=backend
        )
        rows = rms_norm(out[0, :, 0], form(weight), backend=backend)
        loss = cross_entropy(rows, form(targets), backend=backend)
        return [loss.detach(), *torch.autograd.grad(loss, (leaf, weight))]

    for got, want in zip(run(spread), run(lambda x: x), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.slow
def test_compiled_by_inductor():
    leaves = tensors(requires_grad=True)
    torch._dynamo.reset()
    compiled = torch.compile(lambda q, k, v: causal_attention(q * 2, k, v), fullgraph=True)
    torch.testing.assert_close(compiled(*leaves), causal_attention(leaves[0] * 2, *leaves[1:]))


def test_activation_checkpointing_replays_dropout():
    leaves = tensors(requires_grad=True)

    def function(q, k, v):
        return causal_attention(q, k, v, dropout_p=0.5)

    torch.manual_seed(5)
    want = torch.autograd.grad(function(*leaves).square().sum(), leaves)
    torch.manual_seed(5)
    out: Any = checkpoint(function, *leaves, use_reentrant=False)
    got = torch.autograd.grad(out.square().sum(), leaves)
    for a, b in zip(got, want, strict=True):
        assert torch.equal(a, b)


def test_export():
    class Attention(torch.nn.Module):
        def forward(self, q, k, v):
            return causal_attention(q, k, v, window=4)

    inputs = tensors()
    length = torch.export.Dim("length", min=2, max=64)
    program = torch.export.export(
        Attention(), inputs, dynamic_shapes=tuple({1: length} for _ in range(3))
    )
    assert "gptpy.attention_forward" in program.graph_module.code
    other = tensors(21, 21)
    torch.testing.assert_close(program.module()(*other), causal_attention(*other, window=4))


def test_flops_count_as_torch_counts_its_own_attention():
    q, k, v = tensors(8, 8, H=2, D=16, B=3, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        causal_attention(q, k, v).sum().backward()
    product = 2 * 3 * 2 * 8 * 8 * 16
    assert counter.get_total_flops() == (2 + 5) * product


def test_autocast_runs_in_its_dtype():
    q, k, v = tensors(requires_grad=True)
    sinks = torch.zeros(2, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = causal_attention(q, k, v, sinks=sinks)
    assert out.dtype == torch.bfloat16
    gradients = torch.autograd.grad(out.float().sum(), (q, k, v, sinks))
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    want = causal_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), sinks=sinks)
    assert torch.equal(out, want)


def test_fake_cuda_tensors_need_no_gpu():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        q, k, v = tensors(device="cuda", dtype=torch.bfloat16)
        out, lse = causal_attention(q, k, v, return_lse=True)
    assert out.shape == q.shape and out.dtype == torch.bfloat16 and out.device.type == "cuda"
    assert lse.shape == (1, 2, 9) and lse.dtype == torch.float32


def test_double_backward_says_what_to_use():
    leaves = tensors(requires_grad=True)
    (gradient,) = torch.autograd.grad(causal_attention(*leaves).sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match=r"double backward.*attention_reference"):
        gradient.sum().backward()
    (gradient,) = torch.autograd.grad(
        attention_reference(*leaves).square().sum(),  # pyright: ignore
        leaves[0],
        create_graph=True,
    )
    gradient.sum().backward()


Q, K, V = tensors()
WRONG: list[tuple[str, type[Exception], str, tuple, dict[str, Any]]] = [
    ("not a tensor", TypeError, r"q: expected a torch.Tensor, got list", ([1], K, V), {}),
    ("three dims", ValueError, r"q: expected 4 dimensions.*got \(9, 2, 16\)", (Q[0], K, V), {}),
    ("k unlike v", ValueError, r"k and v: expected one shape", (Q, K, V[:, 1:]), {}),
    ("batch", ValueError, r"expected batch 1", (Q, K.repeat(2, 1, 1, 1), V.repeat(2, 1, 1, 1)), {}),
    ("heads", ValueError, r"multiple", (Q, K.repeat(1, 1, 2, 1), V.repeat(1, 1, 2, 1)), {}),
    ("D too large", ValueError, r"head_dim: expected 16 to 256, got 512", tensors(D=512), {}),
    ("D too small", ValueError, r"head_dim: expected 16 to 256, got 8", tensors(D=8), {}),
    ("mixed dtypes", TypeError, r"expected one dtype", (Q.half(), K, V), {}),
    ("integers", TypeError, r"dtype: expected float32", (Q.int(), K.int(), V.int()), {}),
    ("mixed devices", ValueError, r"expected one device", (Q.to("meta"), K, V), {}),
    ("scale", ValueError, r"scale: expected a positive finite", (Q, K, V), {"scale": -1.0}),
    ("scale nan", ValueError, r"scale: expected a positive", (Q, K, V), {"scale": float("nan")}),
    ("window", ValueError, r"window: expected a number of keys >= 1", (Q, K, V), {"window": 0}),
    ("softcap", ValueError, r"softcap: expected a positive", (Q, K, V), {"softcap": 0.0}),
    ("dropout", ValueError, r"dropout_p: expected 0 <= p < 1", (Q, K, V), {"dropout_p": 1.0}),
    ("cu dtype", TypeError, r"cu_seqlens: expected int32", (Q, K, V),
     {"cu_seqlens": Q[0, :, 0, 0]}),
    ("cu shape", ValueError, r"cu_seqlens: expected shape", (Q, K, V),
     {"cu_seqlens": torch.tensor([0])}),
    ("cu start", ValueError, r"begin with 0, got 1", (Q, K, V),
     {"cu_seqlens": torch.tensor([1, 9])}),
    ("cu end", ValueError, r"end with B \* T = 9, got 8", (Q, K, V),
     {"cu_seqlens": torch.tensor([0, 8])}),
    ("cu falls", ValueError, r"never fall, got 5 then 4 at index 2", (Q, K, V),
     {"cu_seqlens": torch.tensor([0, 5, 4, 9])}),
    ("cu with a prefix", ValueError, r"as many keys as queries", (Q[:, :4], K, V),
     {"cu_seqlens": torch.tensor([0, 4])}),
    ("mask dtype", TypeError, r"key_padding_mask: expected bool", (Q, K, V),
     {"key_padding_mask": torch.ones(1, 9)}),
    ("mask shape", ValueError, r"key_padding_mask: expected \(1, 9\)", (Q, K, V),
     {"key_padding_mask": torch.ones(1, 8, dtype=torch.bool)}),
    ("slopes shape", ValueError, r"alibi_slopes: expected shape \(2,\)", (Q, K, V),
     {"alibi_slopes": torch.ones(3)}),
    ("slopes learn", ValueError, r"alibi_slopes: expected constants", (Q, K, V),
     {"alibi_slopes": torch.ones(2, requires_grad=True)}),
    ("sinks dtype", TypeError, r"sinks: expected a floating dtype", (Q, K, V),
     {"sinks": torch.ones(2, dtype=torch.int64)}),
    ("seed", TypeError, r"seed: expected an int64 scalar", (Q, K, V),
     {"dropout_p": 0.1, "seed": torch.ones(2)}),
    ("backend", ValueError, r"backend: expected one of", (Q, K, V), {"backend": "cuda"}),
]  # fmt: skip


@pytest.mark.parametrize(
    "error,message,inputs,arguments", [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
def test_wrong_arguments_are_named_before_any_launch(
    error, message, inputs, arguments, monkeypatch
):
    from gptpy_kernels.attention import launch

    def launched(*_args: Any) -> Any:
        raise AssertionError("launched")

    monkeypatch.setattr(launch, "_Call", launched)
    if "backend" not in arguments:
        arguments = {**arguments, "backend": "triton"}
    with pytest.raises(error, match=message):
        causal_attention(*inputs, **arguments)


def test_cu_seqlens_changed_in_place_is_checked_again():
    cu_seqlens = torch.tensor([0, 4, 9])
    causal_attention(Q, K, V, cu_seqlens=cu_seqlens)
    cu_seqlens[1] = 20
    with pytest.raises(ValueError, match="never fall"):
        causal_attention(Q, K, V, cu_seqlens=cu_seqlens)


def test_float64_has_no_kernel():
    doubles = (Q.double(), K.double(), V.double())
    assert causal_attention(*doubles).dtype == torch.float64
    with pytest.raises(RuntimeError, match="float64 has no kernel"):
        causal_attention(*doubles, backend="triton")


def test_unavailable_devices_have_a_reason(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    ready, reason = available("cpu")
    assert not ready and "need a GPU" in reason
    with pytest.raises(RuntimeError, match=r"cannot run here: .*need a GPU"):
        causal_attention(Q, K, V, backend="triton")


WITHOUT_TRITON = """
import sys
sys.modules["triton"] = None
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "triton" else real(name, *rest)
import torch, gptpy_kernels
q = torch.randn(1, 5, 2, 16, requires_grad=True)
gptpy_kernels.causal_attention(q, q, q).sum().backward()
print(gptpy_kernels.available("cpu"))
"""


def test_the_references_need_no_triton():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TRITON], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "triton is not installed" in done.stdout
