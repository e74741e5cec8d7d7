"""The lean forms equal the plain formulas, and their gradients those of finite differences."""

import pytest
import torch
import torch.nn.functional as F

from gptpy.config import GPTConfig
from gptpy.model import GPT
from gptpy.model.fast import compute_dtype, lean_pays, rms_norm, rotated_heads, swiglu
from gptpy.model.position import rope_table, rotate

B, T, H, H_KV, D = 2, 5, 4, 2, 6


def normal(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def plain_heads(heads, split, cos, sin, weights, eps):
    q, k, v = heads.split((*split, split[1]), dim=2)
    if eps is not None:
        q_weight, k_weight = weights or (None, None)
        q, k = F.rms_norm(q, (D,), q_weight, eps), F.rms_norm(k, (D,), k_weight, eps)
    return rotate(q, cos, sin), rotate(k, cos, sin), v


@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm(affine):
    x = normal(B, T, D).requires_grad_()
    weight = normal(D, seed=1).requires_grad_() if affine else None
    out = rms_norm(x, weight, 1e-3, torch.float64)
    torch.testing.assert_close(out, F.rms_norm(x, (D,), weight, 1e-3))
    leaves = (x,) if weight is None else (x, weight)

    def run(x, weight=None):
        return rms_norm(x, weight, 1e-3, torch.float64)

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("norm", ["none", "plain", "affine"])
def test_rotated_heads(norm):
    heads = normal(B, T, H + 2 * H_KV, D).requires_grad_()
    cos, sin = (table.double() for table in rope_table(T, D, 100.0))
    eps = None if norm == "none" else 1e-3
    weights = None
    if norm == "affine":
        weights = (normal(D, seed=1).requires_grad_(), normal(D, seed=2).requires_grad_())
    got = rotated_heads(heads, (H, H_KV), cos, sin, weights, eps)
    expected = plain_heads(heads, (H, H_KV), cos, sin, weights, eps)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs)

    def run(heads, *weights):
        return rotated_heads(heads, (H, H_KV), cos, sin, weights or None, eps)

    assert torch.autograd.gradcheck(run, (heads, *(weights or ())))


def test_swiglu():
    x = normal(B, T, 2 * D).requires_grad_()
    gate, up = x.chunk(2, -1)
    torch.testing.assert_close(swiglu(x), F.silu(gate) * up)
    assert torch.autograd.gradcheck(swiglu, (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_in_and_out(dtype):
    x = normal(B, T, D, dtype=torch.float32).requires_grad_()
    weight = torch.ones(D, requires_grad=True)
    out = rms_norm(x, weight, 1e-6, dtype)
    assert out.dtype == dtype
    out.backward(torch.ones_like(out))
    assert x.grad is not None and x.grad.dtype == torch.float32
    heads = normal(B, T, H + 2 * H_KV, D, dtype=dtype).requires_grad_()
    q, k, v = rotated_heads(heads, (H, H_KV), *rope_table(T, D, 1e4), (weight, weight), 1e-6)
    assert q.dtype == k.dtype == v.dtype == dtype
    (q.sum() + k.sum() + v.sum()).backward()
    assert heads.grad is not None and heads.grad.dtype == dtype


@pytest.mark.parametrize(
    "settings", [{}, {"n_kv_head": 2}, {"qk_norm": False}, {"norm_affine": False}]
)
@pytest.mark.parametrize("amp", [False, True])
def test_whole_model_equals_its_plain_form(monkeypatch, settings, amp):
    """Loss and every gradient of a step, lean and dense against plain and reference."""
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 61, "block_size": 16}
    births = {"init_residual": "normal", "init_head": "normal", "init_std": 0.2}
    model = GPT(GPTConfig.preset("modern-1m", **{**shape, **births, **settings}))
    ids = torch.randint(61, (3, 16))
    results = []
    for lean in (False, True):
        for module in ("norm", "mlp", "self_attention"):
            monkeypatch.setattr(f"gptpy.model.{module}.lean_pays", lambda x, lean=lean: lean)
        model.attention_backend = "dense" if lean else "reference"
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            _, loss = model(ids[:, :-1], ids[:, 1:])
        loss.backward()
        results.append((loss.detach(), {n: p.grad for n, p in model.named_parameters()}))
    (plain, plain_grads), (lean, lean_grads) = results
    torch.testing.assert_close(lean, plain, rtol=2e-2 if amp else 1e-5, atol=0)
    for name, expected in plain_grads.items():
        error = (lean_grads[name] - expected).norm() / expected.norm()
        assert error < (0.15 if amp else 1e-4), (name, error)


def test_where_the_lean_forms_are_taken():
    x = torch.zeros(1)
    assert lean_pays(x)
    assert not lean_pays(x.to("meta"))
    assert compute_dtype(x) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert compute_dtype(x) == torch.bfloat16

    @torch.compile(backend="eager")
    def compiled(x):
        return x + lean_pays(x)

    assert compiled(x) == 0
