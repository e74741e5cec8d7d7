"""Which attention back end a run uses: decided once, by its table and by a probe of the kernel."""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import torch

from gptpy.model.attention.backends import BACKENDS
from gptpy.model.attention.preferences import (
    FEATURES,
    NEVER_RUN,
    VARIABLE,
    order,
    requested_by_environment,
)
from gptpy.model.attention.probe import Use, probe, probe_paged

log = logging.getLogger(__name__)

_logged: set[tuple[str, str, str]] = set()


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
        _check_request(requested, source, lambda: _problem(requested, use))
        return _log(requested, source)
    reasons = []
    for name, merit in order(device.type, features, context, _device_class(device)).items():
        problem = _problem(name, use)
        if not problem:
            return _log(name, "; ".join([*reasons, merit]))
        reasons.append(f"not {name}: {problem}")
    return _log("reference", "; ".join(reasons))


def choose_paged(
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    *,
    features: AbstractSet[str],
    heads: tuple[int, int],
    block_tokens: int,
) -> tuple[bool, str]:
    """Whether single tokens attend to keys in blocks by the Triton kernel, and the reason, logged
    once a process.

    On CUDA they do, after a probe, because SDPA would have the blocks collected first; not on the
    devices of `NEVER_RUN`, and not where `GPTPY_ATTENTION` names another back end. Where it names
    "triton" they do on every device, or `ValueError` says why they cannot. Arguments as
    `choose_backend`, for generation; `block_tokens`: keys of a block.
    """
    use = Use(device, dtype, head_dim, frozenset(features), heads, 0.0, None, False)
    requested = requested_by_environment()
    if requested is not None:
        source = f"asked for by {VARIABLE}"
        asked = requested == "triton"
        _check_request(
            requested, source, lambda: _paged_problem(use, block_tokens) if asked else None
        )
        return _log_paged(asked, source if asked else f"{requested} was {source}")
    if device.type != "cuda":
        return False, "the kernel is for GPUs"
    if (kind := _device_class(device)) in NEVER_RUN:
        return _log_paged(False, f"{NEVER_RUN[kind]} ({VARIABLE}=triton takes them)")
    problem = _paged_problem(use, block_tokens)
    return _log_paged(not problem, problem or "SDPA has the blocks of keys collected first")


def _check_request(name: str, source: str, find_problem: Callable[[], str | None]) -> None:
    """`ValueError` for a back end that is unknown, or asked for and does not work."""
    if name not in BACKENDS:
        raise ValueError(
            f"attention back end: expected one of {', '.join(BACKENDS)}, got {name!r}"
            + (f" in {VARIABLE}" if source != "asked for" else "")
        )
    problem = find_problem()
    if problem:
        raise ValueError(
            f"attention back end {name!r} was {source}, but {problem}: "
            "leave the choice open, or ask for another"
        )


def _log(name: str, reason: str, what: str = "attention back end") -> tuple[str, str]:
    if (what, name, reason) not in _logged:
        _logged.add((what, name, reason))
        log.info("%s: %s (%s)", what, name, reason)
    return name, reason


def _log_paged(taken: bool, reason: str) -> tuple[bool, str]:
    what = "attention of single tokens to keys in blocks"
    return taken, _log("triton" if taken else "torch", reason, what)[1]


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
    return _kernel_problem(use, lambda kernels: probe(kernels.causal_attention, use))


def _paged_problem(use: Use, block_tokens: int) -> str | None:
    """Why the kernel of single queries over paged keys cannot be used, or None."""
    return _kernel_problem(
        use, lambda kernels: probe_paged(kernels.attention_with_kv_cache, use, block_tokens)
    )


def _kernel_problem(use: Use, try_kernel: Callable[[Any], str | None]) -> str | None:
    try:
        import gptpy_kernels
    except ImportError as error:
        return f"gptpy_kernels cannot be imported ({error})"
    try:
        available, reason = gptpy_kernels.available(use.device)
        return try_kernel(gptpy_kernels) if available else reason
    # A compiler, a driver or a missing toolchain may raise anything. It all means that the kernel
    # cannot be used, and the text goes into the reason.
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        return f"its probe launch failed ({type(error).__name__}: {first_line})"
