"""Attention behind one call, three back ends, chosen once a run.

`reference` is the formula in plain torch, `sdpa` is `F.scaled_dot_product_attention`, `triton` is
`gptpy_kernels.causal_attention`. All take and return the layout `(B, T, H, D)`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Set as AbstractSet

import torch
import torch.nn.functional as F
from torch import Tensor

log = logging.getLogger(__name__)

BACKENDS = ("reference", "sdpa", "triton")

# What a back end cannot do; the names are those that `choose_backend` takes as `features`.
UNSUPPORTED: dict[str, frozenset[str]] = {
    "reference": frozenset(),
    "sdpa": frozenset({"softcap"}),
    "triton": frozenset({"alibi", "bidirectional"}),
}


def choose_backend(
    device: torch.device | str,
    dtype: torch.dtype,
    head_dim: int,
    requested: str | None = None,
    *,
    features: AbstractSet[str] = frozenset(),
) -> tuple[str, str]:
    """The back end for a run and the reason, logged. Launches one real kernel to find out.

    `features`: what the model needs, of "softcap", "alibi", "bidirectional". Raises `ValueError`
    when a back end is `requested` that cannot do it here; without a request, falls back.
    """
    device = torch.device(device)
    if requested is not None:
        if requested not in BACKENDS:
            raise ValueError(
                f"attention back end: expected one of {', '.join(BACKENDS)}, got {requested!r}"
            )
        problem = _problem(requested, device, dtype, head_dim, features)
        if problem:
            raise ValueError(
                f"attention back end {requested!r} was asked for, but {problem}: "
                "leave the choice open, or ask for another"
            )
        return _logged(requested, "asked for")
    reasons = []
    for name in ("triton", "sdpa"):
        if name == "triton" and device.type != "cuda":
            continue  # nothing to say about a GPU kernel on a machine without one
        problem = _problem(name, device, dtype, head_dim, features)
        if not problem:
            best = "a probe launch agreed with the reference" if name == "triton" else "torch's own"
            return _logged(name, "; ".join([*reasons, best]))
        reasons.append(f"not {name}: {problem}")
    return _logged("reference", "; ".join(reasons))


def _logged(name: str, reason: str) -> tuple[str, str]:
    log.info("attention back end: %s (%s)", name, reason)
    return name, reason


def _problem(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    features: AbstractSet[str],
) -> str | None:
    """Why the back end cannot be used, or None."""
    missing = sorted(UNSUPPORTED[name] & features)
    if missing:
        return f"it does not support {', '.join(missing)}"
    if name != "triton":
        return None
    try:
        import gptpy_kernels
    except ImportError as error:
        return f"gptpy_kernels cannot be imported ({error})"
    try:
        available, reason = gptpy_kernels.available(device)  # pyright: ignore
        if not available:
            return reason
        kernel = gptpy_kernels.causal_attention  # pyright: ignore
        return _probe(kernel, device, dtype, head_dim, features)
    # The probe stands between a run and whatever a compiler, a driver or a missing toolchain
    # raises; every such failure means the same thing here, and its text goes into the reason.
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        return f"its probe launch failed ({type(error).__name__}: {first_line})"


def _probe(kernel, device, dtype, head_dim, features: AbstractSet[str]) -> str | None:
    """Forward and backward once, compared with the reference."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, 33, 2, head_dim)
    q, k, v, g = (torch.randn(shape, generator=generator) for _ in range(4))
    softcap = 20.0 if "softcap" in features else None
    leaves = [x.to(device, dtype).requires_grad_() for x in (q, k, v)]
    out = kernel(*leaves, softcap=softcap, backend="triton")
    out.backward(g.to(device, dtype))
    exact = [x.detach().double().cpu().requires_grad_() for x in leaves]
    expected = attention(*exact, softcap=softcap, backend="reference")
    expected.backward(g.to(dtype).double())
    tolerance = 2e-2 if dtype in (torch.float16, torch.bfloat16) else 5e-3  # tf32 dots
    pairs = [(out, expected), *((x.grad, y.grad) for x, y in zip(leaves, exact, strict=True))]
    for got, want in pairs:
        error = (got.detach().double().cpu() - want.detach()).abs().max() / want.abs().max()
        if not error <= tolerance:
            return f"its probe launch was off by {error:.1e} of the largest value"
    return None


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    alibi_slopes: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    dropout_p: float = 0.0,
    bias: Tensor | None = None,
    backend: str = "sdpa",
) -> Tensor:
    """`softmax(q k^T scale + bias) v`, per head; `(B, T, H, D)` out, dtype of `q`.

    `q: (B, T, H, D)`, `k, v: (B, S, H_kv, D)` with `H_kv` dividing `H`. With `S > T` the queries
    are the last `T` of the `S` positions. `window`: a query sees its own key and the `window - 1`
    before it. `alibi_slopes: (H,)`. `key_padding_mask: (B, S)` bool, True where a key is real.
    `cu_seqlens: (n + 1,)` offsets of documents in the flattened `(B * T)` tokens; a query sees
    keys of its own document only. `bias`: all of these masks at once, from `attention_bias`, so
    that a model of many layers builds it once ("reference" and "sdpa").
    A query that sees no key gets zeros.
    """
    if backend == "triton":
        if not causal or alibi_slopes is not None or bias is not None:
            raise ValueError(
                "attention back end 'triton' is causal and takes no bias or ALiBi slopes: "
                "use 'sdpa' or 'reference'"
            )
        from gptpy_kernels import causal_attention  # pyright: ignore

        return causal_attention(
            q,
            k,
            v,
            scale=scale,
            window=window,
            softcap=softcap,
            cu_seqlens=cu_seqlens,
            key_padding_mask=key_padding_mask,
            dropout_p=dropout_p,
        )
    if bias is None:
        simple = causal and q.shape[1] == k.shape[1]
        masked = (window, alibi_slopes, key_padding_mask, cu_seqlens) != (None,) * 4
        if masked or (causal and not simple and q.shape[1] > 1) or backend == "reference":
            bias = attention_bias(
                q.shape[1],
                k.shape[1],
                batch=q.shape[0],
                causal=causal,
                window=window,
                alibi_slopes=alibi_slopes,
                key_padding_mask=key_padding_mask,
                cu_seqlens=cu_seqlens,
                device=q.device,
                dtype=q.dtype,
            )
    if backend == "reference":
        return _reference(q, k, v, bias, scale, softcap, dropout_p)
    if backend == "sdpa":
        if softcap is not None:
            raise ValueError(
                "attention back end 'sdpa' has no softcap: use 'reference' or 'triton'"
            )
        # torch wants (B, H, T, D); these are views, and its fused CPU and CUDA kernels take and
        # return the strides as they are, so that no tensor is copied.
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=bias,
            dropout_p=dropout_p,
            is_causal=causal and bias is None and q.shape[1] > 1,
            scale=scale,
            enable_gqa=q.shape[2] != k.shape[2],
        )
        return out.transpose(1, 2)
    raise ValueError(f"attention back end: expected one of {', '.join(BACKENDS)}, got {backend!r}")


def attention_bias(
    queries: int,
    keys: int,
    *,
    batch: int = 1,
    causal: bool = True,
    window: int | None = None,
    alibi_slopes: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor | None:
    """Every mask as one tensor that broadcasts to `(B, H, queries, keys)`, or None without any.

    Boolean (True: may look) without ALiBi, otherwise added to the scores, `-inf` where hidden.
    """
    visible: Tensor | None = None
    distance: Tensor | None = None
    if causal or window is not None or alibi_slopes is not None:
        query_positions = torch.arange(keys - queries, keys, device=device)
        distance = query_positions[:, None] - torch.arange(keys, device=device)[None, :]
    if causal and distance is not None:
        visible = distance >= 0
    if window is not None and distance is not None:
        near = distance < window
        visible = near if visible is None else visible & near
    if cu_seqlens is not None:
        if queries != keys:
            raise ValueError(
                f"cu_seqlens needs as many queries as keys, got {queries} and {keys}: "
                "documents are for training, not for a cache"
            )
        documents = document_ids(cu_seqlens, batch, keys)
        same = (documents[:, :, None] == documents[:, None, :])[:, None]
        visible = same if visible is None else visible & same
    if key_padding_mask is not None:
        real = key_padding_mask.bool()[:, None, None, :]
        visible = real if visible is None else visible & real
    if alibi_slopes is None or distance is None:
        return visible
    bias = (-alibi_slopes[:, None, None].float() * distance.abs()).to(dtype)[None]
    return bias if visible is None else torch.where(visible, bias, -math.inf)


def document_ids(cu_seqlens: Tensor, batch: int, length: int) -> Tensor:
    """Number of the document of every token, `(batch, length)`, from offsets `(n + 1,)`.

    Offsets count the flattened `(batch * length)` tokens; a row's end is always a document's end.
    """
    tokens = torch.arange(batch * length, device=cu_seqlens.device)
    found = torch.searchsorted(cu_seqlens.to(tokens.dtype), tokens, right=True)
    return found.view(batch, length)


def _reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    scale: float | None,
    softcap: float | None,
    dropout_p: float,
) -> Tensor:
    """The formula, in at least fp32, line by line."""
    groups = q.shape[2] // k.shape[2]
    wide = torch.promote_types(q.dtype, torch.float32)
    k = k.repeat_interleave(groups, dim=2).to(wide)
    v = v.repeat_interleave(groups, dim=2).to(wide)
    scores = torch.einsum("bthd,bshd->bhts", q.to(wide), k)
    scores = scores * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        if bias.dtype == torch.bool:
            scores = scores.masked_fill(~bias, -math.inf)
        else:
            scores = scores + bias.to(wide)
    weights = torch.softmax(scores, dim=-1)
    # A row without a single visible key is 0 / 0: it looks at nothing.
    weights = torch.where(torch.isneginf(scores).all(-1, keepdim=True), 0.0, weights)
    weights = F.dropout(weights, dropout_p, training=dropout_p > 0)
    return torch.einsum("bhts,bshd->bthd", weights, v).to(q.dtype)
