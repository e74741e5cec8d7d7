"""Which attention back end a run uses: decided once, by its table and by a probe of the kernel."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet

import torch

from gptpy.model.attention.backends import BACKENDS
from gptpy.model.attention.preferences import (
    FEATURES,
    VARIABLE,
    order,
    requested_by_environment,
)
from gptpy.model.attention.probe import Use, probe

log = logging.getLogger(__name__)

_logged: set[tuple[str, str]] = set()


def choose_backend(
    device: torch.device | str,
    dtype: torch.dtype,
    head_dim: int,
    requested: str | None = None,
    *,
    features: AbstractSet[str] = frozenset(),
    context: int | None = None,
    heads: tuple[int, int] = (2, 2),
    dropout_p: float = 0.0,
    autocast: torch.dtype | None = None,
    training: bool = True,
) -> tuple[str, str]:
    """The name of the back end for a run and the reason, logged once a process.

    `requested`: a name; else that of the environment variable `GPTPY_ATTENTION`; else the first
    back end of `preferences.order` that works. The Triton kernel must agree with the reference
    in a probe launch with the model's own features: `features` of `FEATURES`, `heads` of queries
    and keys, `dropout_p`; in `dtype`, and where training runs under `autocast`, in its type too.
    Without `training` nothing is differentiated. `context`: the longest sequence.

    Raises `ValueError` for a requested one that does not work, and for unknown features.
    """
    unknown = sorted(features - set(FEATURES))
    if unknown:
        raise ValueError(
            f"attention features: expected some of {', '.join(FEATURES)}, got {', '.join(unknown)}"
        )
    device = torch.device(device)
    use = Use(device, dtype, head_dim, frozenset(features), heads, dropout_p, autocast, training)
    source = "asked for"
    if requested is None and (requested := requested_by_environment()):
        source = f"asked for by {VARIABLE}"
    if requested is not None:
        if requested not in BACKENDS:
            raise ValueError(
                f"attention back end: expected one of {', '.join(BACKENDS)}, got {requested!r}"
                + (f" in {VARIABLE}" if source != "asked for" else "")
            )
        problem = _problem(requested, use)
        if problem:
            raise ValueError(
                f"attention back end {requested!r} was {source}, but {problem}: "
                "leave the choice open, or ask for another"
            )
        return _log(requested, source)
    reasons = []
    for name, merit in order(device.type, features, context, _device_class(device)).items():
        problem = _problem(name, use)
        if not problem:
            return _log(name, "; ".join([*reasons, merit]))
        reasons.append(f"not {name}: {problem}")
    return _log("reference", "; ".join(reasons))


def _log(name: str, reason: str) -> tuple[str, str]:
    if (name, reason) not in _logged:
        _logged.add((name, reason))
        log.info("attention back end: %s (%s)", name, reason)
    return name, reason


def _device_class(device: torch.device) -> str | None:
    """The class of a CUDA device in the kernels' tables; None without kernels."""
    if device.type != "cuda":
        return None
    try:
        from gptpy_kernels.attention.configs import device_class
    except ImportError:
        return None
    return device_class(device)


def _problem(name: str, use: Use) -> str | None:
    """Why the back end cannot be used, or None."""
    missing = sorted(BACKENDS[name].unsupported & use.features)
    if missing:
        return f"it does not support {', '.join(missing)}"
    if name != "triton":
        return None
    try:
        import gptpy_kernels
    except ImportError as error:
        return f"gptpy_kernels cannot be imported ({error})"
    try:
        available, reason = gptpy_kernels.available(use.device)
        return probe(gptpy_kernels.causal_attention, use) if available else reason
    # A compiler, a driver or a missing toolchain may raise anything. It all means that the kernel
    # cannot be used, and the text goes into the reason.
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        return f"its probe launch failed ({type(error).__name__}: {first_line})"
