"""The table that decides which attention back end a run takes when nobody asks for one.

On CUDA plain causal attention is SDPA's: it has kernels that have been measured for years. Ours
serve what SDPA lacks, or does by a mask of every query and key, which costs memory quadratic in the
length and rules its fastest kernel out.
"""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet

VARIABLE = "GPTPY_ATTENTION"
"""Environment variable that names a back end, as `requested` does."""

FEATURES = ("softcap", "alibi", "window", "bidirectional", "documents", "padding")
"""What a network or its data may need beyond causal attention. Every back end takes padding,
documents and a cached prefix in any call; named here, they count in the choice and the probe."""

SERVED_BY_KERNELS = {
    "softcap": "SDPA has no soft cap",
    "window": "SDPA takes a window as a full mask",
    "documents": "SDPA takes documents as a full mask",
    "padding": "SDPA takes padding as a full mask",
    "alibi": "SDPA takes ALiBi as a full matrix",
}
"""By feature: why a run that needs it takes the Triton kernels on CUDA."""

MEASURED_AHEAD: dict[str, str] = {}
"""Device classes (`gptpy_kernels.attention.configs.device_class`) on which a record of ours shows
the kernel ahead of SDPA for plain attention, and the record's file. `make gpu-day` suggests it."""

NEVER_RUN: dict[str, str] = {"amd": "our kernels compile for AMD's GPUs, but none has run there"}
"""Device classes on which the kernels are taken only when asked for, and why."""

DENSE_CONTEXTS = range(1, 513)
"""Contexts for which "dense" is the fastest on a CPU."""


def order(
    device_type: str, features: AbstractSet[str], context: int | None, device_class: str | None
) -> dict[str, str]:
    """The back ends to try, the first one first, each with the reason to take it."""
    if device_type == "cuda":
        if device_class in NEVER_RUN:
            return {"sdpa": f"{NEVER_RUN[device_class]} ({VARIABLE}=triton takes them)"}
        why = [SERVED_BY_KERNELS[name] for name in SERVED_BY_KERNELS if name in features]
        if why:
            return {"triton": "; ".join(why), "sdpa": "torch's own"}
        if device_class in MEASURED_AHEAD:
            record = MEASURED_AHEAD[device_class]
            return {"triton": f"ahead on {device_class} in {record}", "sdpa": "torch's own"}
        return {
            "sdpa": f"no record shows our kernel ahead of it on {device_class or 'this device'} "
            f"for plain attention ({VARIABLE}=triton takes the kernel)"
        }
    if device_type == "cpu" and context in DENSE_CONTEXTS:
        return {"dense": "the fastest on a CPU for short contexts", "sdpa": "torch's own"}
    return {"sdpa": "torch's own"}


def requested_by_environment() -> str | None:
    """The back end that `VARIABLE` names; None where it is unset, empty or "auto"."""
    name = os.environ.get(VARIABLE, "")
    return None if name in ("", "auto") else name
