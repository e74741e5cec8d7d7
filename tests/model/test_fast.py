"""Quick layers equal the plain ones of `transformer.py`, outputs and gradients; the switch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp import FSDPModule

from gptpy.config import GPTConfig
from gptpy.model import GPT, build_model, plain_formulas
from gptpy.model.attention.reference import ForwardState, Masks, reference
from gptpy.model.fast import CPU, KERNELS, PLAIN, FusedNormBlock, install
from gptpy.model.fast.generation import GenerationBlock, for_generation
from gptpy.model.fast.layers import (
    CpuRMSNorm,
    CpuSwiGLU,
    compute_dtype,
    eager_on_cpu,
    rms_norm,
    rotated_heads,
    swiglu,
)
from gptpy.model.transformer import Block, RMSNorm, Transformer, rotate

B, T, H, H_KV, D = 2, 5, 4, 2, 6
SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 61, "block_size": 16}
WEIGHTS = {"init_residual": "normal", "init_head": "normal", "init_std": 0.2}


def normal(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def angles(dtype=torch.float64):
    """Cosines and sines for `T` positions of heads `D` wide."""
    table = torch.arange(T)[:, None] * 100.0 ** (-torch.arange(0, D, 2) / D)
    return table.cos().to(dtype), table.sin().to(dtype)


def modern(**settings):
    torch.manual_seed(0)
    return GPT(GPTConfig.preset("modern-1m", **{**SHAPE, **WEIGHTS, **settings}))


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
    cos, sin = angles()
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
    q, k, v = rotated_heads(heads, (H, H_KV), *angles(torch.float32), (weight, weight), 1e-6)
    assert q.dtype == k.dtype == v.dtype == dtype
    (q.sum() + k.sum() + v.sum()).backward()
    assert heads.grad is not None and heads.grad.dtype == dtype


@pytest.mark.parametrize(
    "settings", [{}, {"n_kv_head": 2}, {"qk_norm": False}, {"norm_affine": False}]
)
@pytest.mark.parametrize("amp", [False, True])
def test_whole_model_equals_its_plain_form(settings, amp):
    """Loss and every gradient of a step, with the CPU forms and without."""
    model = modern(**settings)
    model.attention_backend = "dense"
    ids = torch.randint(61, (3, 16))

    def step():
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            _, loss = model(ids[:, :-1], ids[:, 1:])
        loss.backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        assert len(grads) == len(list(model.parameters()))
        return loss.detach(), grads

    quick, quick_grads = step()
    with plain_formulas(model):
        plain, plain_grads = step()
    assert quick != plain, "they round differently: both ran"
    torch.testing.assert_close(quick, plain, rtol=2e-2 if amp else 1e-5, atol=0)
    for name, expected in plain_grads.items():
        error = (quick_grads[name] - expected).norm() / expected.norm()
        assert error < (0.15 if amp else 1e-4), (name, error)


def test_every_layer_of_the_table_is_replaced():
    kinds = {type(layer) for layer in modern().modules()}
    assert {r.quick for r in CPU} <= kinds
    assert not kinds & {r.plain for r in CPU}
    gelu = {type(layer) for layer in build_model(GPTConfig.preset("gpt2", **SHAPE)).modules()}
    assert CpuSwiGLU not in gelu, "only SwiGLU has a quick form"
    for group in (CPU, *KERNELS.values()):
        for plain, quick, _ in group:
            assert issubclass(quick, plain) and PLAIN[quick] is plain


def test_the_switch_leaves_nothing_but_the_plain_network():
    """Under it a model is, class by class and bit by bit, the network of `transformer.py`."""
    model = modern(tied_head=False)
    model.attention_backend = "dense"
    torch.manual_seed(0)
    plain = Transformer(model.config)
    assert plain.state_dict().keys() == model.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    ids = torch.randint(61, (3, 16))
    before = [type(layer) for layer in model.modules()]
    with pytest.raises(KeyboardInterrupt), plain_formulas(model):
        assert model.attend is reference
        kinds = [type(layer) for layer in model.modules()]
        assert kinds[1:] == [type(layer) for layer in plain.modules()][1:]
        assert torch.equal(model(ids, ids)[1], plain(ids, ids)[1])
        raise KeyboardInterrupt
    assert [type(layer) for layer in model.modules()] == before
    assert model.attention_backend == "dense"


def test_the_switch_knows_blocks_that_are_sharded():
    """FSDP derives a class of its own from a block's."""
    model = modern()
    install(model, ["rms_norm"])
    block = model.blocks[0]
    fused = type(block)
    block.__class__ = sharded = type(f"FSDP{fused.__name__}", (FSDPModule, fused), {})
    with plain_formulas(model):
        assert isinstance(block, FSDPModule) and isinstance(block, Block)
        assert not isinstance(block, FusedNormBlock)
    assert fused is FusedNormBlock and type(block) is sharded


def test_a_copy_keeps_its_quick_layers():
    model = modern()
    ids = torch.randint(61, (3, 16))
    copied = copy.deepcopy(model)
    assert type(copied.norm) is CpuRMSNorm
    assert torch.equal(copied(ids, ids)[1], model(ids, ids)[1])


def test_where_the_cpu_forms_run():
    x = torch.zeros(1)
    assert eager_on_cpu(x)
    assert not eager_on_cpu(x.to("meta"))
    assert compute_dtype(x) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert compute_dtype(x) == torch.bfloat16

    @torch.compile(backend="eager")
    def compiled(x):
        return x + eager_on_cpu(x)

    assert compiled(x) == 0


def test_a_compiled_layer_computes_the_plain_formula(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the CPU form ran")

    monkeypatch.setattr("gptpy.model.fast.layers.rms_norm", refuse)
    norm = nn.Sequential(RMSNorm(D, 1e-6))
    norm[0].__class__ = CpuRMSNorm
    x = normal(B, T, D, dtype=torch.float32)
    expected = F.rms_norm(x, (D,), None, 1e-6)
    torch.testing.assert_close(torch.compile(norm, backend="eager")(x), expected)
    with pytest.raises(AssertionError, match="the CPU form ran"):
        norm(x)


@pytest.mark.parametrize("name", ["plain", "modern"])
def test_blocks_for_generation_compute_the_plain_formula(name):
    more = {"position": "rope", "qk_norm": True, "norm": "rmsnorm", "activation": "swiglu"}
    torch.manual_seed(0)
    model = GPT(GPTConfig(**{**SHAPE, **WEIGHTS, **(more if name == "modern" else {})})).eval()
    plain, x = model.blocks[0], torch.randn(1, T, 32)
    assert isinstance(plain, Block)
    quick = copy.deepcopy(plain)
    for_generation(quick)
    assert type(quick) is GenerationBlock and type(plain) is Block
    rotation = angles(torch.float32)[0].new_zeros(T, 4), torch.ones(T, 4)
    state = ForwardState(masks=Masks(), rotation=rotation if name == "modern" else None)
    before = x.clone()
    with torch.inference_mode():
        torch.testing.assert_close(quick(x, state), plain(x, state))
    assert torch.equal(x, before)  # the residual stream is the caller's
    leaf = x.requires_grad_()
    quick(leaf, state).sum().backward()
    assert leaf.grad is not None and bool(leaf.grad.any())
