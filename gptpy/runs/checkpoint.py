"""Checkpoints: `RUN/checkpoints/step-N/{model,optimizer[,ema]}.safetensors` and `state.json`.

A checkpoint appears whole under its name or not at all. Nothing is pickled: tensors are
safetensors, the rest is JSON. Of a model sharded over processes, `model/`, `optimizer/` and `ema/`
are folders in which each process has written its part (`sharded.py`). Any number of processes reads
either kind, into models and optimisers that are there already (`restore`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from gptpy.config.errors import GptpyError
from gptpy.config.files import read_toml
from gptpy.config.run import RunConfig
from gptpy.devices.processes import World
from gptpy.runs import sharded
from gptpy.storage import atomic

FORMAT = 1
_NAME = re.compile(r"step-(\d+)$")


class CheckpointError(GptpyError, ValueError):
    """A checkpoint that cannot be read or written: the message names it and says why."""


def save(
    run_dir: str | Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    state: Mapping[str, Any],
) -> Path:
    """Write one checkpoint, a safetensors file for each name in `tensors`; returns its folder.

    Raises `CheckpointError` (a full disk, a read-only folder); earlier checkpoints stay.
    """
    target = Path(run_dir) / "checkpoints" / f"step-{step}"
    try:
        with atomic.folder(target) as folder:
            for name, members in tensors.items():
                save_file(_plain(members), str(folder / f"{name}.safetensors"))
            (folder / "state.json").write_text(_state_text(step, state), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise _not_written(target, error) from None
    return target


def save_shards(
    run_dir: str | Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    state: Mapping[str, Any],
    world: World,
) -> Path:
    """`save` for tensors sharded over processes: all call it, each writes its own part.

    Raises `CheckpointError` on every process when any of them fails.
    """
    target = Path(run_dir) / "checkpoints" / f"step-{step}"
    # The same name on all processes, so without a process id
    temporary = target.with_name(f".{target.name}.shards.tmp")
    # Collectives need the weights' device: nccl has none for the CPU
    device = next(tensor.device for members in tensors.values() for tensor in members.values())

    def together(action: Callable[[], None]) -> None:
        """Run `action`, and raise on all processes if it failed on one.

        Otherwise the others would wait forever in the next collective for the one that failed.
        """
        reason = ""
        try:
            action()
        except (OSError, sharded.ShardsError) as error:
            reason = str(error) or type(error).__name__
        if world.any(bool(reason), device):
            if world.is_main:
                shutil.rmtree(temporary, ignore_errors=True)
            raise _not_written(target, reason or "another process failed")

    def make_folders() -> None:
        if world.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for name in tensors:
                (temporary / name).mkdir()

    def take_name() -> None:
        if world.is_main:
            atomic.write_text(temporary / "state.json", _state_text(step, state))
            atomic.take_name(temporary, target)

    together(make_folders)
    for name, members in tensors.items():
        together(partial(sharded.write, temporary / name, members))
    together(take_name)
    return target


def _state_text(step: int, state: Mapping[str, Any]) -> str:
    return json.dumps({"format": FORMAT, "step": step, **state}, indent=1)


def _not_written(target: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {target.name} could not be written to {target.parent}: {reason}; "
        "earlier checkpoints are untouched"
    )


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
    """The checkpoint folder of `path`: itself, or a run's checkpoint at `step` (default: the last).

    Raises `CheckpointError` naming what was looked for and what there is.
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


def holds(checkpoint: str | Path, name: str) -> bool:
    """Whether a checkpoint folder has tensors of `name` ("model", "optimizer", "ema")."""
    return any((Path(checkpoint) / kind).exists() for kind in (name, f"{name}.safetensors"))


def read_tensors(checkpoint: str | Path, name: str) -> dict[str, torch.Tensor]:
    """The whole tensors of `name` ("model", "optimizer", "ema") in a checkpoint folder."""
    folder = Path(checkpoint) / name
    if folder.is_dir():
        kinds = shapes(checkpoint, name)
        found = {key: torch.empty(shape, dtype=dtype) for key, (shape, dtype) in kinds.items()}
        fill(checkpoint, name, found)
        return found
    path = Path(checkpoint) / f"{name}.safetensors"
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def shapes(checkpoint: str | Path, name: str) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of every tensor of `name`, without reading them."""
    folder, path = Path(checkpoint) / name, Path(checkpoint) / f"{name}.safetensors"
    try:
        if folder.is_dir():
            return sharded.shapes(folder)
        with safe_open(str(path), "pt") as file:  # type: ignore[no-untyped-call]
            return {key: _shape(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, sharded.ShardsError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def _shape(tensor: torch.Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype  # the tensor is a map of the file: its bytes are not read


def fill(checkpoint: str | Path, name: str, targets: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors of `name` into `targets`, on their devices and sharded as they are."""
    folder, path = Path(checkpoint) / name, Path(checkpoint) / f"{name}.safetensors"
    try:
        if folder.is_dir():
            sharded.fill(folder, targets)
            return
        with torch.no_grad(), safe_open(str(path), "pt") as file:  # type: ignore[no-untyped-call]
            for key, target in targets.items():
                target.copy_(_like(file.get_tensor(key), target))
    except (OSError, SafetensorError, sharded.ShardsError) as error:
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


def load_tensors(checkpoint: str | Path, name: str, targets: Mapping[str, torch.Tensor]) -> None:
    """Copy all tensors of `name` into `targets`; `CheckpointError` if names or shapes differ."""
    there = shapes(checkpoint, name)
    missing, extra = sorted(targets.keys() - there.keys()), sorted(there.keys() - targets.keys())
    if missing or extra:
        raise CheckpointError(
            f"{checkpoint} holds another model: it lacks {missing[:3] or 'nothing'} and has "
            f"{extra[:3] or 'nothing'} besides"
        )
    for key, target in targets.items():
        if there[key][0] != target.shape:
            raise CheckpointError(
                f"{checkpoint}: {key} has shape {tuple(there[key][0])}, the model "
                f"wants {tuple(target.shape)}"
            )
    fill(checkpoint, name, targets)


def _like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """`value`, which every process has read, on the device of `parameter` and sharded like it."""
    sharded: Any = parameter
    if not hasattr(sharded, "device_mesh"):
        return value.to(parameter.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, sharded.device_mesh, sharded.placements, src_data_rank=None)


# ---- A checkpoint read back into a model and its optimisers

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
    load_tensors(folder, "model", own)
    if averaged and holds(folder, "ema"):
        parameters = {name for name, _ in model.named_parameters()}
        load_tensors(folder, "ema", {k: v for k, v in own.items() if k in parameters})
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
    for key, kind in shapes(folder, "optimizer").items():
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
    fill(folder, "optimizer", targets)


def _check_kind(optimizer: torch.optim.Optimizer, name: str, states: Collection[str]) -> None:
    kind = type(optimizer).__name__
    wanted = STATES.get(kind, set(states))
    if wanted != set(states):
        raise CheckpointError(
            f"the checkpoint holds the state of another optimiser: for {name} it has "
            f"{', '.join(sorted(states))}, {kind} keeps {', '.join(sorted(wanted))}; resume with "
            "the train.optim.name that wrote it"
        )
