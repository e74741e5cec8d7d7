"""A checkpoint read back into a model and its optimisers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from gptpy.runs import checkpoint
from gptpy.runs.checkpoint import CheckpointError

# What an optimiser keeps for each parameter that it has moved
STATES = {"AdamW": {"step", "exp_avg", "exp_avg_sq"}, "Muon": {"momentum_buffer"}}


def restore(
    folder: str | Path,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    *,
    averaged: bool = False,
) -> None:
    """Load a checkpoint folder into a model and its optimisers, in place, on any device.

    `averaged` takes the moving average of the weights where the run kept one. With several
    processes all must call it. Raises `CheckpointError` for another model's checkpoint.
    """
    own = model.state_dict()
    checkpoint.load_tensors(folder, "model", own)
    if averaged and checkpoint.holds(folder, "ema"):
        parameters = {name for name, _ in model.named_parameters()}
        checkpoint.load_tensors(folder, "ema", {k: v for k, v in own.items() if k in parameters})
    if optimizers:
        load_optimizers(folder, optimizers)


def optimizer_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """All state tensors of the optimisers as `parameter name|state name`."""
    tensors: dict[str, torch.Tensor] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for name, parameter in zip(group["param_names"], group["params"], strict=True):
                for key, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"{name}|{key}"] = torch.as_tensor(value)
    return tensors


def load_optimizers(folder: str | Path, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """The inverse of `optimizer_tensors`, onto the parameters' devices and sharded like them.

    Raises `CheckpointError` when the tensors belong to another optimiser or model.
    """
    by_name: dict[str, dict[str, tuple[torch.Size, torch.dtype]]] = {}
    for key, kind in checkpoint.shapes(folder, "optimizer").items():
        name, _, state = key.rpartition("|")
        by_name.setdefault(name, {})[state] = kind
    targets: dict[str, torch.Tensor] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for name, parameter in zip(group["param_names"], group["params"], strict=True):
                states: dict[str, torch.Tensor] = {}
                for state, (shape, dtype) in by_name.pop(name, {}).items():
                    if shape and shape != parameter.shape:
                        raise CheckpointError(
                            f"optimizer state {name}|{state} has shape {tuple(shape)}, the "
                            f"parameter {tuple(parameter.shape)}: another model's checkpoint"
                        )
                    if shape:
                        states[state] = torch.empty_like(parameter, dtype=dtype).detach()
                    else:
                        states[state] = torch.empty((), dtype=dtype, device=parameter.device)
                    targets[f"{name}|{state}"] = states[state]
                if states:
                    _check_kind(optimizer, name, states)
                    optimizer.state[parameter] = states
    if by_name:
        raise CheckpointError(
            f"the checkpoint holds optimizer state of unknown parameters: {sorted(by_name)[:3]}; "
            "resume with the train.optim settings that wrote it"
        )
    checkpoint.fill(folder, "optimizer", targets)


def _check_kind(optimizer: torch.optim.Optimizer, name: str, states: Collection[str]) -> None:
    kind = type(optimizer).__name__
    wanted = STATES.get(kind, set(states))
    if wanted != set(states):
        raise CheckpointError(
            f"the checkpoint holds the state of another optimiser: for {name} it has "
            f"{', '.join(sorted(states))}, {kind} keeps {', '.join(sorted(wanted))}; resume with "
            "the train.optim.name that wrote it"
        )
