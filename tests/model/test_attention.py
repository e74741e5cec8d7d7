"""Back ends of attention against the plain formula in float64, and their choice."""

import math

import pytest
import torch

from gptpy.model.attention import BACKENDS, Masks, document_ids
from gptpy.model.attention import dense as dense_attention


def attention(q, k, v, *, backend, window=None, softcap=None, dropout_p=0.0, **masks):
    return BACKENDS[backend].attend(q, k, v, Masks(**masks), window, softcap, dropout_p)


def alibi(h, t, s):
    return -float(SLOPES[h]) * abs(t - s)


def naive(q, k, v, visible, bias=None, softcap=None):
    """One query at a time, float64."""
    B, T, H, D = q.shape
    q, k, v = q.double(), k.double(), v.double()
    out = torch.zeros(B, T, H, D, dtype=torch.float64)
    for b in range(B):
        for h in range(H):
            kv = h // (H // k.shape[2])
            for t in range(T):
                keys = [s for s in range(k.shape[1]) if visible(b, t, s)]
                if not keys:
                    continue
                scores = k[b, keys, kv] @ q[b, t, h] / math.sqrt(D)
                if softcap:
                    scores = softcap * torch.tanh(scores / softcap)
                if bias is not None:
                    scores = scores + torch.tensor([bias(h, t, s) for s in keys])
                out[b, t, h] = scores.softmax(0) @ v[b, keys, kv]
    return out


def random_qkv(B=2, T=7, S=None, H=4, H_kv=2, D=8):
    g = torch.Generator().manual_seed(0)
    S = S or T
    shapes = ((B, T, H, D), (B, S, H_kv, D), (B, S, H_kv, D))
    return [torch.randn(*shape, generator=g) for shape in shapes]


PADDING = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1]]).bool()
SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625])
CASES = {
    "causal": ({}, lambda b, t, s: s <= t),
    "all": ({"causal": False}, lambda b, t, s: True),
    "window": ({"window": 3}, lambda b, t, s: t - 3 < s <= t),
    "all+window": (
        {"causal": False, "window": 3},
        lambda b, t, s: abs(t - s) < 3,
    ),
    "padding": ({"key_padding_mask": PADDING}, lambda b, t, s: s <= t and bool(PADDING[b, s])),
    "all+padding": (
        {"causal": False, "key_padding_mask": PADDING},
        lambda b, t, s: bool(PADDING[b, s]),
    ),
    "documents": (
        {"cu_seqlens": torch.tensor([0, 3, 7, 9, 14])},
        lambda b, t, s: s <= t and ((s < 3) == (t < 3) if b == 0 else (s < 2) == (t < 2)),
    ),
    "alibi": ({"alibi_slopes": SLOPES}, lambda b, t, s: s <= t),
    "all+alibi": ({"causal": False, "alibi_slopes": SLOPES}, lambda b, t, s: True),
    "softcap": ({"softcap": 0.7}, lambda b, t, s: s <= t),
}


@pytest.mark.parametrize("backend", ["reference", "dense", "sdpa"])
@pytest.mark.parametrize("case", CASES)
def test_back_ends_equal_the_formula(case, backend):
    settings, visible = CASES[case]
    q, k, v = random_qkv()
    if case == "softcap" and backend != "reference":
        with pytest.raises(ValueError, match="softcap"):
            attention(q, k, v, backend=backend, **settings)
        return
    bias = alibi if "alibi" in case else None
    expected = naive(q, k, v, visible, bias, settings.get("softcap"))
    got = attention(q, k, v, backend=backend, **settings)
    assert got.dtype == q.dtype
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference", "dense", "sdpa"])
@pytest.mark.parametrize("queries", [1, 3])
def test_queries_are_the_last_of_the_keys(backend, queries):
    q, k, v = random_qkv(T=7)
    q = q[:, -queries:]
    first = 7 - queries
    expected = naive(q, k, v, lambda b, t, s: s <= t + first)
    got = attention(q, k, v, backend=backend)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fast", ["dense", "sdpa"])
@pytest.mark.parametrize("case", [case for case in CASES if case != "softcap"])
def test_gradients_agree(case, fast):
    settings, _ = CASES[case]
    gradients = []
    for backend in ("reference", fast):
        leaves = [x.requires_grad_() for x in random_qkv()]
        out = attention(*leaves, backend=backend, **settings)
        out.sin().sum().backward()
        gradients.append([x.grad for x in leaves])
    for want, got in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_masks_are_combined_once_for_each_window():
    q, k, _ = random_qkv()
    masks = Masks(key_padding_mask=PADDING)
    narrow = masks.combined(q, k, 3)
    assert masks.combined(q, k, 3) is narrow
    whole = masks.combined(q, k)
    assert masks.combined(q, k, 7) is whole, "a window as long as the keys hides none"
    added = masks.combined(q, k, added=True)
    assert narrow is not None and whole is not None and added is not None
    assert (whole & ~narrow).any() and not (narrow & ~whole).any()
    assert torch.equal(added == 0, whole) and torch.equal(added == -math.inf, ~whole)
    assert Masks(causal=False).combined(q, k) is None


def test_document_ids():
    assert document_ids(torch.tensor([0, 3, 7, 9, 14]), 2, 7).tolist() == [
        [1, 1, 1, 2, 2, 2, 2],
        [3, 3, 4, 4, 4, 4, 4],
    ]


def test_dropout_drops_weights():
    q, k, _ = random_qkv(T=64)
    ones = torch.ones_like(k)
    torch.manual_seed(0)
    for backend in ("reference", "dense", "sdpa"):
        out = attention(q, k, ones, dropout_p=0.5, backend=backend)
        assert out.mean().item() == pytest.approx(1.0, abs=0.1)
        assert out.std() > 0.05


def test_gradient_of_dense_with_dropout():
    """The same weights are dropped in both passes: the gradient is that of finite differences."""

    def run(q, k, v):
        torch.manual_seed(1)
        return attention(q, k, v, dropout_p=0.3, backend="dense")

    leaves = [x.double().requires_grad_() for x in random_qkv(B=1, T=4, D=3)]
    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (2, 1)])
@pytest.mark.parametrize("dropout_p", [0.0, 0.3])
def test_blocks_of_rows_in_dense_are_one(heads, dropout_p, monkeypatch):
    """A causal context in blocks, which skip what no query of theirs sees, and as one."""
    q, k, v = random_qkv(T=27, H=heads[0], H_kv=heads[1])
    results = []
    for rows in (27, 8):
        monkeypatch.setattr(dense_attention, "FROM", 27)
        monkeypatch.setattr(dense_attention, "ROWS", rows)
        blocks = dense_attention.row_blocks(27, 27, True)
        assert sum((b - a) * keys for a, b, keys in blocks) <= (729 if rows == 27 else 486)

        first = [0]

        def drop(self, p, rows=rows, first=first):  # the same weights in both
            count = 27 if rows == 27 else min(8, 27 - first[0])
            whole = torch.arange(2 * heads[0] * 27 * 27).view(2 * heads[1], -1, 27, 27) * 7919 % 10
            part = whole[:, :, first[0] : first[0] + count, : self.shape[2]]
            first[0] += count
            return self.copy_((part.reshape(self.shape) < 7).to(self))

        monkeypatch.setattr(torch.Tensor, "bernoulli_", drop)
        leaves = [x.double().requires_grad_() for x in (q, k, v)]
        out = dense_attention.dense(leaves[0], leaves[1], leaves[2], Masks(), dropout_p=dropout_p)
        weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
        results.append([out, *torch.autograd.grad((out * weights).sum(), leaves)])
        monkeypatch.undo()
    for one, blocked in zip(*results, strict=True):
        torch.testing.assert_close(blocked, one)


def test_dense_skips_hidden_keys_from_256_tokens_on():
    def work(T, S):
        return sum((b - a) * keys for a, b, keys in dense_attention.row_blocks(T, S, True))

    assert dense_attention.row_blocks(255, 255, True) == [(0, 255, 255)]
    assert dense_attention.row_blocks(512, 512, False) == [(0, 512, 512)]
    assert dense_attention.row_blocks(1, 512, True) == [(0, 1, 512)]
    assert work(256, 256) == 0.75 * 256**2 and work(512, 512) == 0.625 * 512**2
