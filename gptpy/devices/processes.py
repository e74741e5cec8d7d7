"""Several processes: this one's rank, the few collectives of training, and the model's copies.

DDP copies a model to every process, FSDP2 shards its weights over them.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from gptpy.config.errors import ConfigError

PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class World:
    """This process among those of the run; the only one unless `torchrun` started several."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def sum(self, value: float, device: torch.device) -> float:
        """The sum of every process's `value`."""
        if self.size == 1:
            return value
        total = _scalar(value, device)
        dist.all_reduce(total)
        return float(total)

    def from_main(self, value: float, device: torch.device) -> float:
        """The main process's `value`, on every process."""
        if self.size == 1:
            return value
        sent = _scalar(value, device)
        dist.broadcast(sent, 0)
        return float(sent)

    def any(self, value: bool, device: torch.device) -> bool:
        """Whether `value` holds on any process."""
        return self.sum(float(value), device) > 0

    def wait_for_main(self) -> None:
        """Wait for every process, however long the main one has prepared.

        Collectives give up after some minutes, so that a process that hangs is found.
        """
        if self.size > 1:
            group: Any = dist.new_group(backend="gloo", timeout=PATIENCE)
            dist.barrier(group)
            dist.destroy_process_group(group)

    def barrier(self) -> None:
        """Wait for every process."""
        if self.size > 1:
            dist.barrier()


def _scalar(value: float, device: torch.device) -> torch.Tensor:
    """A number for a collective, in float64 where the device has it."""
    scalar = torch.tensor(value, dtype=torch.float64)
    return scalar.float().to(device) if device.type == "mps" else scalar.to(device)


def join_world(device: str = "auto") -> World:
    """Join the processes that `torchrun` started (RANK, WORLD_SIZE, LOCAL_RANK), if it did.

    Raises `ConfigError` where those variables are no integers.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return World()
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", "0"))
    except ValueError:
        raise ConfigError(
            "RANK, WORLD_SIZE and LOCAL_RANK must be integers, as torchrun sets them"
        ) from None
    if not dist.is_initialized():
        on_gpu = device != "cpu" and torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(local)
        dist.init_process_group("nccl" if on_gpu else "gloo", rank=rank, world_size=size)
    return World(rank, size, local)


def leave_world() -> None:
    """Close what `join_world` opened; waits for every process unless an error is on its way."""
    if dist.is_available() and dist.is_initialized():
        # gloo's threads free the tensors of a collective shortly after it has returned; freeing
        # them while the interpreter ends aborts the process (pytorch issue 190489). A barrier
        # waits for all earlier work.
        if sys.exc_info()[0] is None:
            dist.barrier()
        gc.collect()
        dist.destroy_process_group()


def distribute(
    model: Any, world: World, kind: str, *, compiled: bool = False, dynamic: bool | None = None
) -> Callable[..., Any]:
    """Prepare `model` for the processes of `world`; returns what to call instead of it.

    "fsdp" shards the weights of `model` itself, block by block; "ddp" and "auto" wrap it and
    average gradients. A single process gets the model as it is. Must come before optimisers are
    built. With `compiled`, sharded blocks are compiled here one by one, because weights are
    gathered between them in Python (`dynamic`: for any length); any other model is the caller's to
    compile.
    """
    if world.size == 1:
        return model
    if kind != "fsdp":
        on_gpu = next(model.parameters()).is_cuda
        return DistributedDataParallel(model, device_ids=[world.local_rank] if on_gpu else None)
    if compiled:
        for block in _blocks(model):
            _compile_for_training(block, dynamic)
    if not is_sharded(model):
        _shard(model)
    return model


def _shard(model: Any) -> None:
    # Imported here, because these modules take long to load and few runs need them
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for block in _blocks(model):
        fully_shard(block)
    fully_shard(model)
    for name in ("encode", "token_scores"):  # generation and evaluation call them directly
        if hasattr(model, name):
            register_fsdp_forward_method(model, name)


@torch.no_grad()
def shard_from_main(model: Any, whole: Any | None, world: World, device: torch.device) -> None:
    """Shard `model`, built on the meta device, in place onto `device`, one tensor at a time.

    `whole`: on the main process the model with the weights, on a CPU; None on all processes where
    a checkpoint will be read. So no device, and no other process, ever holds the whole model.
    """
    from torch.distributed.tensor import distribute_tensor

    _shard(model)
    model.to_empty(device=device)
    weights = whole.state_dict() if whole is not None else {}
    filled = world.any(whole is not None, device)
    for name, target in model.state_dict().items() if filled else ():
        source = weights[name].to(device) if weights else torch.empty(target.shape, device=device)
        mesh, placements = target.device_mesh, target.placements
        target.copy_(distribute_tensor(source, mesh, placements, src_data_rank=0))


def gradient_sync(forward: Any, model: Any, last: bool) -> AbstractContextManager[Any]:
    """Let processes exchange gradients in the `last` micro-batch of a step only.

    `forward`: what `distribute` returned for `model`.
    """
    if is_sharded(model):
        model.set_requires_gradient_sync(last)
        return nullcontext()
    if isinstance(forward, DistributedDataParallel) and not last:
        return forward.no_sync()
    return nullcontext()


def undo_compilation(model: Any) -> None:
    """Give sharded blocks back the forward that `distribute` compiled."""
    for block in _blocks(model):
        vars(block).pop("forward", None)


def is_sharded(model: Any) -> bool:
    """Whether every process holds only a part of the model's weights."""
    return hasattr(model, "set_requires_gradient_sync")  # a method of torch's `FSDPModule`


def reshard(model: Any) -> None:
    """Free gathered weights; the next forward gathers them again from the shards."""
    for module in model.modules():
        if is_sharded(module):
            module.reshard()


def full_value(tensor: torch.Tensor) -> float:
    """The value of a scalar that may be sharded."""
    full = getattr(tensor, "full_tensor", None)
    return float(full() if full is not None else tensor)


def _blocks(model: Any) -> list[Any]:
    return [*getattr(model, "encoder_blocks", ()), *getattr(model, "blocks", ())]


def _compile_for_training(block: Any, dynamic: bool | None) -> None:
    """Compile the forward of `block`, without its hooks; evaluation keeps the plain one.

    Evaluation and generation bring other lengths and a growing cache, which would each be compiled
    again.
    """
    plain = block.forward
    compiled = torch.compile(plain, dynamic=dynamic)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return (compiled if block.training else plain)(*args, **kwargs)

    block.forward = forward  # on the object, where it hides the method of the class
