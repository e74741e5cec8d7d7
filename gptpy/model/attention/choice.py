"""Which attention back end a run uses: decided once, by launching it and comparing the result."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet
from typing import Any

import torch

from gptpy.model.attention.backends import BACKENDS
from gptpy.model.attention.reference import Masks, reference

log = logging.getLogger(__name__)

FEATURES = ("softcap", "alibi", "window", "bidirectional")
"""What a network may need beyond causal attention. Padding, documents, dropout and a cached prefix
are not among them: every back end takes them in any call."""
DENSE_CONTEXTS = range(1, 513)


def choose_backend(
    device: torch.device | str,
    dtype: torch.dtype,
    head_dim: int,
    requested: str | None = None,
    *,
    features: AbstractSet[str] = frozenset(),
    context: int | None = None,
) -> tuple[str, str]:
    """The name of the back end for a run and the reason, logged. Launches the Triton kernel once.

    `features`: what the model needs, of `FEATURES`. `context`: its longest sequence; on a CPU a
    short one takes "dense". Without a request the first of "triton", "dense", "sdpa", "reference"
    that works. Raises `ValueError` for a `requested` one that does not, and for unknown features.
    """
    unknown = sorted(features - set(FEATURES))
    if unknown:
        raise ValueError(
            f"attention features: expected some of {', '.join(FEATURES)}, got {', '.join(unknown)}"
        )
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
    for name in ("triton", "dense", "sdpa"):
        if name == "dense" and not (device.type == "cpu" and (context or 0) in DENSE_CONTEXTS):
            continue
        if name == "triton" and device.type != "cuda":
            continue  # without a GPU the reason need not mention its kernel
        problem = _problem(name, device, dtype, head_dim, features)
        if not problem:
            return _logged(name, "; ".join([*reasons, BACKENDS[name].merit]))
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
    missing = sorted(BACKENDS[name].unsupported & features)
    if missing:
        return f"it does not support {', '.join(missing)}"
    if name != "triton":
        return None
    try:
        import gptpy_kernels
    except ImportError as error:
        return f"gptpy_kernels cannot be imported ({error})"
    try:
        available, reason = gptpy_kernels.available(device)
        if not available:
            return reason
        kernel = gptpy_kernels.causal_attention
        directions = (False, True) if "bidirectional" in features else (True,)
        for causal in directions:
            problem = _probe(kernel, device, dtype, head_dim, features, causal)
            if problem:
                return problem
        return None
    # A compiler, a driver or a missing toolchain may raise anything. It all means that the kernel
    # cannot be used, and the text goes into the reason.
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        return f"its probe launch failed ({type(error).__name__}: {first_line})"


def _probe(
    kernel: Any,
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    features: AbstractSet[str],
    causal: bool,
) -> str | None:
    """Forward and backward once with the model's features, compared with the reference."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, 33, 2, head_dim)
    q, k, v, g = (torch.randn(shape, generator=generator) for _ in range(4))
    softcap = 20.0 if "softcap" in features else None
    slopes = torch.tensor([0.5, 0.0625]) if "alibi" in features else None
    window = 9 if "window" in features else None
    leaves = [x.to(device, dtype).requires_grad_() for x in (q, k, v)]
    out = kernel(
        *leaves,
        causal=causal,
        window=window,
        softcap=softcap,
        alibi_slopes=None if slopes is None else slopes.to(device),
        backend="triton",
    )
    out.backward(g.to(device, dtype))
    exact = [x.detach().double().cpu().requires_grad_() for x in leaves]
    masks = Masks(causal, alibi_slopes=slopes)
    expected = reference(exact[0], exact[1], exact[2], masks, window, softcap)
    expected.backward(g.to(dtype).double())
    tolerance = 2e-2 if dtype in (torch.float16, torch.bfloat16) else 5e-3  # tf32 dots
    pairs = [(out, expected), *((x.grad, y.grad) for x, y in zip(leaves, exact, strict=True))]
    for got, want in pairs:
        error = (got.detach().double().cpu() - want.detach()).abs().max() / want.abs().max()
        if not error <= tolerance:
            return f"its probe launch was off by {error:.1e} of the largest value"
    return None
