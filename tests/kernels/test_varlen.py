"""Packed sequences with lengths of their own for queries and keys, checked one at a time."""

import inspect
import math
from typing import Any

import pytest
import torch
from gptpy_kernels import causal_attention, varlen_attention
from torch import Tensor

# Lengths of queries and keys: equal, more keys, more queries, no queries, no keys, one of each.
QUERIES, KEYS = (7, 9, 12, 0, 5, 1), (7, 21, 4, 3, 0, 1)


def packed(lengths) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def draw(H: int = 4, H_kv: int = 2, D: int = 16) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    T, S = sum(QUERIES), sum(KEYS)
    shapes = ((T, H, D), (S, H_kv, D), (S, H_kv, D), (T, H, D))
    return [torch.randn(*shape, generator=generator) for shape in shapes]


def expected(
    q: Tensor, k: Tensor, v: Tensor, *, causal=False, window_size=(-1, -1), softcap=0.0,
    alibi_slopes=None, sinks=None, softmax_scale=None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Out and log-sum-exp from the definition, one sequence after the other."""
    left, right = window_size
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    outs, sums = [], []
    for qs, ks, vs in zip(q.split(QUERIES), k.split(KEYS), v.split(KEYS), strict=True):
        T, S = len(qs), len(ks)
        scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
        s = torch.einsum("thd,shd->hts", qs, ks) * scale
        s = softcap * torch.tanh(s / softcap) if softcap else s
        away = torch.arange(S) - (torch.arange(T)[:, None] + S - T)  # to the right
        if alibi_slopes is not None:
            s = s - alibi_slopes.double()[:, None, None] * away.abs()
        visible = torch.ones(T, S, dtype=torch.bool)
        if causal or right >= 0:
            visible &= away <= (0 if causal else right)
        if left >= 0:
            visible &= -away <= left
        s = s.masked_fill(~visible, -math.inf)
        extra = torch.full((len(s), T, 1), -math.inf, dtype=s.dtype)
        if sinks is not None:
            extra = sinks.double()[:, None, None].expand_as(extra)
        lse = torch.cat([s, extra], -1).logsumexp(-1)
        p = torch.exp(s - lse.masked_fill(lse == -math.inf, 0)[..., None])
        outs.append(torch.einsum("hts,shd->thd", p, vs))
        sums.append(lse)
    return torch.cat(outs), torch.cat(sums, 1)


CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "causal": {"causal": True},
    "window": {"causal": True, "window_size": (3, 0)},
    "window, both ways": {"window_size": (3, 2)},
    "to the right only": {"window_size": (-1, 1)},
    "to the left only": {"window_size": (2, -1)},
    "soft cap, scale": {"causal": True, "softcap": 1.5, "softmax_scale": 0.4},
    "alibi": {"causal": True, "alibi_slopes": torch.tensor([0.5, 0.25, 0.125, 0.06])},
    "sinks": {"causal": True, "sinks": torch.tensor([0.5, -1.0, 0.0, 2.0])},
}


@pytest.mark.parametrize("backend", ["reference", "triton"])
@pytest.mark.parametrize("name", CASES)
def test_equals_one_sequence_at_a_time(name, backend, kernel_device):
    arguments = CASES[name]
    values = draw()
    exact = [x.double().requires_grad_() for x in values[:3]]
    sinks = arguments.get("sinks")
    if sinks is not None:
        exact.append(sinks.double().requires_grad_())
        arguments = {**arguments, "sinks": exact[3]}
    want, want_lse = expected(exact[0], exact[1], exact[2], **arguments)
    want_grads = torch.autograd.grad((want * values[3].double()).sum(), exact, retain_graph=True)
    leaves = [x.to(kernel_device).requires_grad_() for x in values[:3]]
    moved: dict[str, Any] = {
        n: x.to(kernel_device) if isinstance(x, Tensor) else x for n, x in arguments.items()
    }
    if sinks is not None:
        leaves.append(sinks.to(kernel_device).requires_grad_())
        moved["sinks"] = leaves[3]
    out, lse = varlen_attention(
        leaves[0], leaves[1], leaves[2], packed(QUERIES).to(kernel_device),
        packed(KEYS).to(kernel_device), max(QUERIES), max(KEYS), return_lse=True, backend=backend,
        **moved,
    )  # fmt: skip
    grads = torch.autograd.grad((out * values[3].to(kernel_device)).sum(), leaves)
    torch.testing.assert_close(out.double().cpu(), want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(lse.double().cpu(), want_lse, rtol=1e-5, atol=1e-5)
    for got, exact_grad in zip(grads, want_grads, strict=True):
        torch.testing.assert_close(got.double().cpu(), exact_grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_equal_lengths_are_documents(backend, kernel_device):
    cu_seqlens = torch.tensor([0, 30, 47, 75], dtype=torch.int32, device=kernel_device)
    q, k, v = torch.randn(3, 75, 2, 16, device=kernel_device)
    arguments: dict[str, Any] = {"dropout_p": 0.3, "seed": 5, "backend": backend}
    got = varlen_attention(q, k, v, cu_seqlens, cu_seqlens, 30, 30, causal=True, **arguments)
    want = causal_attention(q[None], k[None], v[None], cu_seqlens=cu_seqlens, **arguments)
    torch.testing.assert_close(got, want[0])


def test_the_order_of_arguments_is_flash_attns():
    names = list(inspect.signature(varlen_attention).parameters)
    assert names[:16] == [
        "q", "k", "v", "cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k", "dropout_p",
        "softmax_scale", "causal", "window_size", "softcap", "alibi_slopes", "deterministic",
        "return_attn_probs", "block_table",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "message,arguments",
    [
        (r"cu_seqlens_k: expected to end with keys = 36, got 35", {"cu_seqlens_k": [7, 27, 1]}),
        (r"cu_seqlens_k: expected as many documents", {"cu_seqlens_k": [36]}),
        (r"q: expected 3 dimensions .*got \(1, 34, 4, 16\)", {"q": torch.ones(1, 34, 4, 16)}),
        (r"window_size: expected two numbers", {"window_size": (-2, 0)}),
        (r"block_table: expected None", {"block_table": torch.ones(1)}),
        (r"return_attn_probs: .*return_lse", {"return_attn_probs": True}),
    ],
)
def test_wrong_arguments_are_named(message, arguments):
    q, k, v, _ = draw()
    keys = arguments.pop("cu_seqlens_k", KEYS)
    queries = QUERIES if len(keys) == len(KEYS) else (30, 2, 2)
    call = {"q": q, "k": k, "v": v, "cu_seqlens_q": packed(queries), "cu_seqlens_k": packed(keys)}
    with pytest.raises(ValueError, match=message):
        varlen_attention(**{**call, **arguments})
