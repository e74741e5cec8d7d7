"""Loss, norm, rotation and gated activation: kernel and reference against plain float64 torch."""

import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from gptpy_kernels import apply_rope, cross_entropy, linear_cross_entropy, rms_norm, swiglu

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}


@pytest.fixture(params=["triton", "reference"])
def backend(request) -> Any:
    return request.param


def check(function: Any, plain: Any, inputs: list[torch.Tensor], dtype: torch.dtype) -> None:
    """Values and gradients of `function` in `dtype` against `plain` in float64."""
    inputs = [x.to(dtype) for x in inputs]
    leaves = [x.clone().requires_grad_() for x in inputs]
    exact = [x.double().cpu().requires_grad_() for x in inputs]
    got, want = function(*leaves), plain(*exact)
    got = got if isinstance(got, tuple) else (got,)
    want = want if isinstance(want, tuple) else (want,)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in want]
    loss = sum((x.double() * w.to(x.device)).sum() for x, w in zip(got, weights, strict=True))
    exact_loss = sum((x * w).sum() for x, w in zip(want, weights, strict=True))
    assert isinstance(loss, torch.Tensor) and isinstance(exact_loss, torch.Tensor)
    pairs = list(zip(got, want, strict=True))
    grads = torch.autograd.grad(loss, leaves), torch.autograd.grad(exact_loss, exact)
    pairs += zip(*grads, strict=True)
    for index, (a, b) in enumerate(pairs):
        error = (a.detach().cpu().double() - b.detach()).norm() / b.detach().norm().clamp(min=1e-9)
        assert error <= TOLERANCE[dtype], f"tensor {index}: relative error {error:.1e}"


def softcapped(logits: torch.Tensor, cap: float | None) -> torch.Tensor:
    return logits if cap is None else cap * torch.tanh(logits / cap)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(softcap, reduction, dtype, backend, kernel_device):
    logits = torch.randn(2, 5, 71, device=kernel_device) * 4
    targets = torch.randint(0, 71, (2, 5))
    targets[0, 1] = targets[1, 4] = -100
    check(
        lambda x: cross_entropy(
            x, targets.to(x.device), softcap=softcap, reduction=reduction, backend=backend
        ),
        lambda x: F.cross_entropy(
            softcapped(x, softcap).view(-1, 71), targets.view(-1), reduction=reduction
        ).view((2, 5) if reduction == "none" else ()),
        [logits],
        dtype,
    )


def test_cross_entropy_of_several_blocks(kernel_device):
    logits = torch.randn(3, 9001, device=kernel_device)
    targets = torch.tensor([0, 9000, 4096])
    check(
        lambda x: cross_entropy(x, targets.to(x.device), backend="triton"),
        lambda x: F.cross_entropy(x, targets),
        [logits],
        torch.float32,
    )


def test_cross_entropy_of_extreme_logits(backend, kernel_device):
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e30, -1e30, -1e30]], device=kernel_device)
    targets = torch.tensor([1, 0], device=kernel_device)
    losses = cross_entropy(logits, targets, reduction="none", backend=backend).cpu()
    torch.testing.assert_close(losses, torch.tensor([2e4, 1.0986123]))


def test_cross_entropy_of_nothing_is_zero(backend, kernel_device):
    logits = torch.randn(4, 7, device=kernel_device, requires_grad=True)
    loss = cross_entropy(logits, torch.full((4,), -100, device=kernel_device), backend=backend)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("chunk", [3, 100])
def test_linear_cross_entropy(softcap, chunk, dtype, backend, kernel_device):
    hidden = torch.randn(2, 4, 16, device=kernel_device)
    weight = torch.randn(37, 16, device=kernel_device)
    targets = torch.randint(0, 37, (2, 4))
    targets[1, 1] = -100
    check(
        lambda h, w: linear_cross_entropy(
            h, w, targets.to(h.device), softcap=softcap, chunk=chunk, backend=backend
        ),
        lambda h, w: F.cross_entropy(softcapped(h @ w.t(), softcap).view(-1, 37), targets.view(-1)),
        [hidden, weight],
        dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_rms_norm(residual, weighted, dtype, backend, kernel_device):
    x, r = torch.randn(2, 2, 7, 33, device=kernel_device)
    w = torch.randn(33, device=kernel_device)
    inputs = [x, *([r] if residual else []), *([w] if weighted else [])]

    def split(tensors: tuple) -> tuple:
        rest = list(tensors[1:])
        return tensors[0], rest.pop(0) if residual else None, rest[0] if weighted else None

    def fused(*tensors):
        x, r, w = split(tensors)
        return rms_norm(x, w, residual=r, eps=1e-5, backend=backend)

    def plain(*tensors):
        x, r, w = split(tensors)
        h = x if r is None else x + r
        y = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-5)
        y = y if w is None else y * w
        return y if r is None else (y, h)

    check(fused, plain, inputs, dtype)


def test_rms_norm_of_a_wide_residual_stream(backend, kernel_device):
    """Half-precision branch, float32 stream: the sum stays float32, the norm is for a product."""
    generator = torch.Generator().manual_seed(0)
    branch, stream, weight = (torch.randn(n, 33, generator=generator) for n in (5, 5, 1))
    x = branch.bfloat16().to(kernel_device).requires_grad_()
    residual = stream.clone().to(kernel_device).requires_grad_()
    w = weight[0].clone().to(kernel_device).requires_grad_()
    normed, total = rms_norm(x, w, residual=residual, dtype=torch.bfloat16, backend=backend)
    assert normed.dtype == torch.bfloat16 and total.dtype == torch.float32
    h = (x.detach().double().cpu() + stream.detach().double()).requires_grad_()
    exact_w = weight[0].detach().double().requires_grad_()
    want = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6) * exact_w
    torch.testing.assert_close(total.double().cpu(), h.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(normed.double().cpu(), want, rtol=1e-2, atol=1e-2)
    (normed.float() * residual.detach() + total).sum().backward()
    (want * stream.double() + h).sum().backward()
    assert x.grad is not None and residual.grad is not None and w.grad is not None
    assert h.grad is not None and exact_w.grad is not None
    assert (x.grad.dtype, residual.grad.dtype) == (torch.bfloat16, torch.float32)
    for got, exact in ((x.grad, h.grad), (residual.grad, h.grad), (w.grad, exact_w.grad)):
        error = (got.double().cpu() - exact).norm() / exact.norm()
        assert error < 1e-2


def test_linear_cross_entropy_holds_one_chunk_of_logits(backend, kernel_device, monkeypatch):
    """Neither the forward nor the backward pass makes logits of the whole batch."""
    module = sys.modules["gptpy_kernels.fused.cross_entropy"]
    rows: list[int] = []

    def counted(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            rows.extend(
                a.shape[0] for a in arguments if a.__class__ is torch.Tensor and a.dim() == 2
            )
            return function(*arguments)

        return call

    for name in ("_forward", "_backward"):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    hidden = torch.randn(23, 16, device=kernel_device, requires_grad=True)
    weight = torch.randn(37, 16, device=kernel_device, requires_grad=True)
    targets = torch.randint(0, 37, (23,), device=kernel_device)
    saved: list[int] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        saved.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = linear_cross_entropy(hidden, weight, targets, chunk=8, backend=backend)
    loss.backward()
    assert rows == [8, 8, 7, 8, 8, 7]
    assert max(saved) < 23 * 37


def test_linear_cross_entropy_under_autocast(backend, kernel_device):
    """In autocast's dtype in both passes: as if the inputs had been cast before."""
    hidden, weight = torch.randn(6, 16), torch.randn(37, 16)
    targets = torch.randint(0, 37, (6,), device=kernel_device)
    results = []
    for amp in (True, False):
        leaves = [x.to(kernel_device).requires_grad_() for x in (hidden, weight)]
        inputs = leaves if amp else [x.bfloat16() for x in leaves]
        with torch.autocast(kernel_device.type, torch.bfloat16, enabled=amp):
            loss = linear_cross_entropy(inputs[0], inputs[1], targets, chunk=4, backend=backend)
            loss.backward()  # inside, where autocast would still change products
        results.append([loss.detach(), *(x.grad for x in leaves)])
    for got, want in zip(*results, strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("batched", [False, True])
def test_rope(batched, dtype, backend, kernel_device):
    B, T, H, D = 2, 5, 3, 24
    angles = torch.randn(B, T, D // 2) if batched else torch.randn(T, D // 2)
    packed = torch.randn(B, T, 3, H, D, device=kernel_device)

    def plain(x):
        table = angles.double() if batched else angles.double().unsqueeze(0)
        turn = torch.polar(torch.ones_like(table), table).unsqueeze(2)
        y = torch.complex(*x.chunk(2, -1)) * turn
        return torch.cat([y.real, y.imag], -1)

    def fused(x):
        # A strided view, as q is inside a fused projection.
        x = torch.stack([x, x, x], 2)[:, :, 1]
        cos, sin = angles.cos().to(x.device), angles.sin().to(x.device)
        return apply_rope(x, cos, sin, backend=backend)

    check(fused, plain, [packed[:, :, 0]], dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_swiglu(dtype, backend, kernel_device):
    packed = torch.randn(2, 3, 2 * 37, device=kernel_device) * 3
    check(
        lambda x: swiglu(x, backend=backend),
        lambda x: F.silu(x[..., :37]) * x[..., 37:],
        [packed],
        dtype,
    )


def test_operators_pass_opcheck():
    logits = torch.randn(3, 7, requires_grad=True)
    x = torch.randn(3, 8, requires_grad=True)
    w = torch.randn(8, requires_grad=True)
    ops = torch.ops.gptpy
    targets = torch.tensor([1, -100, 2])
    torch.library.opcheck(ops.cross_entropy.default, (logits, targets, 0.0, -100, ""))
    for residual, dtype in ((x.detach().double(), torch.float32), (None, torch.bfloat16)):
        torch.library.opcheck(ops.rms_norm.default, (x, residual, w, 1e-6, dtype, ""))
    rope = torch.randn(1, 2, 1, 4, requires_grad=True), torch.randn(1, 2, 2), torch.randn(1, 2, 2)
    torch.library.opcheck(ops.rope.default, (*rope, 1.0, ""))
    torch.library.opcheck(ops.swiglu.default, (x, ""))
    arguments = (x, logits.detach().t().contiguous()[:, :1].expand(7, 8).clone(), targets)
    torch.library.opcheck(ops.linear_cross_entropy.default, (*arguments, 2.0, -100, 2, ""))


def test_wrong_arguments():
    x, targets = torch.randn(2, 3, 8), torch.zeros(2, 3, dtype=torch.int64)
    wrong: list[tuple[type[Exception], str, Any]] = [
        (TypeError, "floating", lambda: cross_entropy(x.int(), targets)),
        (ValueError, r"targets: expected \(2, 3\) int64", lambda: cross_entropy(x, targets[0])),
        (ValueError, "0 to 7 or -100, got 8", lambda: cross_entropy(x, targets + 8)),
        (ValueError, "softcap", lambda: cross_entropy(x, targets, softcap=-1.0)),
        (ValueError, "reduction", lambda: cross_entropy(x, targets, reduction="max")),  # pyright: ignore
        (ValueError, "weight: expected", lambda: linear_cross_entropy(x, x[0, :, :4], targets)),
        (ValueError, "chunk", lambda: linear_cross_entropy(x, x[0], targets, chunk=0)),
        (ValueError, r"weight: expected \(8,\)", lambda: rms_norm(x, torch.ones(7))),
        (ValueError, "residual: expected", lambda: rms_norm(x, residual=x[:1])),
        (ValueError, "even D", lambda: apply_rope(x, x, x)),
        (ValueError, "cos: expected", lambda: apply_rope(x.unsqueeze(2), x, x)),
        (TypeError, "dtype: expected", lambda: rms_norm(x, dtype=torch.int64)),
        (ValueError, "even number of columns", lambda: swiglu(x[..., :7])),
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()
