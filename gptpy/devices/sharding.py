"""A model on several processes: DDP copies it, FSDP2 shards its weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from gptpy.devices.processes import World


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
    if isinstance(model, FSDPModule):
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
    return isinstance(model, FSDPModule)


def reshard(model: Any) -> None:
    """Free gathered weights; the next forward gathers them again from the shards."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
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
