"""Checkpoints: `RUN/checkpoints/step-N/{model,optimizer[,ema]}.safetensors` and `state.json`.

A checkpoint appears whole under its name or not at all. Nothing is pickled: tensors are
safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor

from gptpy import atomic
from gptpy.config.files import read_toml
from gptpy.config.run import RunConfig

FORMAT = 1
_NAME = re.compile(r"step-(\d+)$")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written: the message names it and says why."""


def save(
    run_dir: str | Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    state: Mapping[str, Any],
) -> Path:
    """Write one checkpoint, a safetensors file for each name in `tensors`; returns its folder.

    Raises `CheckpointError` (a full disk, a read-only folder); checkpoints that were there stay.
    """
    target = Path(run_dir) / "checkpoints" / f"step-{step}"
    try:
        with atomic.folder(target) as folder:
            for name, members in tensors.items():
                save_file(_plain(members), str(folder / f"{name}.safetensors"))
            text = json.dumps({"format": FORMAT, "step": step, **state}, indent=1)
            (folder / "state.json").write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"checkpoint {target.name} could not be written to {target.parent}: {error}; "
            "earlier checkpoints are untouched"
        ) from None
    return target


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def steps(run_dir: str | Path) -> list[int]:
    """The steps of a run's complete checkpoints, ascending."""
    folder = Path(run_dir) / "checkpoints"
    if not folder.is_dir():
        return []
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(
        int(match[1]) for match in found if match and (folder / match[0] / "state.json").is_file()
    )


def find(path: str | Path, step: int | None = None) -> Path:
    """The checkpoint folder that `path` means: itself, or a run's checkpoint at `step` (the last).

    Raises `CheckpointError` saying what was looked for and what there is.
    """
    path = Path(path)
    if (path / "state.json").is_file():
        return path
    if not path.exists():
        raise CheckpointError(f"{path}: no such run directory or checkpoint")
    there = steps(path)
    if not there:
        raise CheckpointError(f"{path}: holds no checkpoint (looked for checkpoints/step-N/)")
    if step is None:
        step = there[-1]
    if step not in there:
        raise CheckpointError(f"{path}: no checkpoint of step {step}; there are {there}")
    return path / "checkpoints" / f"step-{step}"


def run_of(checkpoint: str | Path) -> Path:
    """The run directory that a checkpoint folder belongs to."""
    return Path(checkpoint).resolve().parent.parent


def read_state(checkpoint: str | Path) -> dict[str, Any]:
    """`state.json` of a checkpoint folder."""
    path = Path(checkpoint) / "state.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {state.get('format')}, this gptpy reads {FORMAT}"
        )
    return state


def read_tensors(
    checkpoint: str | Path, name: str, device: torch.device | str = "cpu"
) -> dict[str, torch.Tensor]:
    """The tensors of `name` ("model", "optimizer", "ema") in a checkpoint folder."""
    path = Path(checkpoint) / f"{name}.safetensors"
    try:
        return load_file(str(path), device=str(device))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def read_config(path: str | Path) -> RunConfig:
    """The configuration of a run directory or of the run that a checkpoint folder belongs to."""
    path = Path(path)
    run = run_of(path) if (path / "state.json").is_file() else path
    return RunConfig.from_mapping(read_toml(run / "config.toml"))


def prune(run_dir: str | Path, keep_last: int, keep: Sequence[int] = ()) -> None:
    """Remove all but the last `keep_last` checkpoints and those of the steps `keep`."""
    for step in steps(run_dir)[:-keep_last]:
        if step not in keep:
            shutil.rmtree(Path(run_dir) / "checkpoints" / f"step-{step}", ignore_errors=True)


def gather(
    model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, dict[str, torch.Tensor]]:
    """Everything that `save` writes of a model and its optimisers; every process must call it."""
    return {
        "model": whole(model.state_dict()),
        "optimizer": whole(optimizer_tensors(optimizers)),
    }


def whole(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that are spread over processes put together again."""
    return {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        for name, tensor in tensors.items()
    }


def restore(
    checkpoint: str | Path,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    *,
    averaged: bool = False,
) -> None:
    """Load a checkpoint folder into a model and its optimisers, in place, wherever they lie.

    `averaged` takes the moving average of the weights where the run kept one.
    """
    tensors = read_tensors(checkpoint, "model")
    if averaged and (Path(checkpoint) / "ema.safetensors").is_file():
        tensors.update(read_tensors(checkpoint, "ema"))
    own = model.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or extra:
        raise CheckpointError(
            f"{checkpoint} holds another model: it lacks {missing[:3] or 'nothing'} and has "
            f"{extra[:3] or 'nothing'} besides"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            if tensors[name].shape != tensor.shape:
                raise CheckpointError(
                    f"{checkpoint}: {name} has shape {tuple(tensors[name].shape)}, the model "
                    f"wants {tuple(tensor.shape)}"
                )
            tensor.copy_(_like(tensors[name], tensor))
    if optimizers:
        load_optimizers(optimizers, read_tensors(checkpoint, "optimizer"))


def _like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """`value` on the device of `parameter`, and spread over processes as it is."""
    value = value.to(parameter.device)
    if isinstance(parameter, DTensor) and value.ndim:
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value


def optimizer_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """All state tensors of the optimisers as `parameter name|state name`."""
    tensors: dict[str, torch.Tensor] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for name, parameter in zip(group["param_names"], group["params"], strict=True):
                for key, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"{name}|{key}"] = torch.as_tensor(value)
    return tensors


def load_optimizers(
    optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, torch.Tensor]
) -> None:
    """The inverse of `optimizer_tensors`, onto the parameters' devices.

    Raises `CheckpointError` when the tensors belong to another optimiser or model.
    """
    by_name: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        name, _, state = key.rpartition("|")
        by_name.setdefault(name, {})[state] = value
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for name, parameter in zip(group["param_names"], group["params"], strict=True):
                state = by_name.pop(name, {})
                for key, value in state.items():
                    if value.ndim and value.shape != parameter.shape:
                        raise CheckpointError(
                            f"optimizer state {name}|{key} has shape {tuple(value.shape)}, the "
                            f"parameter {tuple(parameter.shape)}: another model's checkpoint"
                        )
                    state[key] = _like(value, parameter)
                if state:
                    optimizer.state[parameter] = state
    if by_name:
        raise CheckpointError(
            f"the checkpoint holds optimizer state of unknown parameters: {sorted(by_name)[:3]}; "
            "resume with the train.optim settings that wrote it"
        )
