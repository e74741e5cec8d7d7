"""The number type of generation: weights are cast once, because autocast would cast every step.

And the number of threads."""

from __future__ import annotations

from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.devices.selection import DTYPES, choose_dtype
from gptpy.runs.opening import Loaded

# Parameters from which reading the weights decides the speed of a step on a CPU; below it is the
# number of operations, and half precision only adds conversions
LARGE = 1 << 25

# Parameters below which the products of a step are too short for several threads to share
SHARED = 1 << 22


def limit_threads(model: Any) -> int:
    """Lets this process compute with one thread where more would mostly wait for each other: small
    models on a CPU. Returns the number of threads."""
    if model.device.type == "cpu" and model.num_parameters() < SHARED:
        torch.set_num_threads(1)
    return torch.get_num_threads()


def cast_for_generation(loaded: Loaded, requested: str = "auto") -> tuple[torch.dtype, str]:
    """Give the model the type that generates fastest, in place; returns the type and the reason.

    "auto" takes half precision where the run was trained in it, its device multiplies it and the
    model is large enough to gain. Anything else stays fp32, whose greedy ids are exact: small
    models, runs trained in fp32, and imported models, whose training is not known. Raises
    `ConfigError` for an unknown type.
    """
    model = loaded.model
    if requested != "auto":
        if requested not in DTYPES:
            raise ConfigError(f"dtype: expected auto or {', '.join(DTYPES)}, got {requested!r}")
        dtype, reason = DTYPES[requested], "as asked"
    else:
        dtype, reason = _fastest(loaded)
    if dtype != model.dtype:
        model.to(dtype)
        model.select_attention(dtype=dtype)
    return dtype, reason


def _fastest(loaded: Loaded) -> tuple[torch.dtype, str]:
    model, exact = loaded.model, torch.float32
    native, reason = choose_dtype(model.device)
    trained, _ = choose_dtype(model.device, loaded.config.train.dtype)
    if native == exact or native != trained:
        return exact, "trained in it" if trained == exact else reason
    if loaded.step == 0:
        return exact, "how the model was trained is not known"
    if model.device.type == "cpu" and model.num_parameters() < LARGE:
        return exact, "a small model gains nothing from less"
    return native, f"trained in it; {reason}"
