"""Spreading a model over processes: DDP copies it, FSDP2 shares out its weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from gptpy.devices.processes import World


def spread(
    model: Any, world: World, kind: str, *, compiled: bool = False, dynamic: bool | None = None
) -> Callable[..., Any]:
    """What to call instead of `model`; must come before its optimiser is built.

    "fsdp" shards the weights of `model` itself, block by block; "ddp" (and "auto") wraps it and
    averages gradients. Alone, the model stays as it is. Sharded blocks are `compiled` here, one by
    one (`dynamic`: for any length), since the gathering of weights between them is Python; all else
    is the caller's to compile.
    """
    if world.size > 1 and kind == "fsdp":
        for block in _blocks(model):
            if compiled:
                _compile_for_training(block, dynamic)
            fully_shard(block)
        fully_shard(model)
        if hasattr(model, "encode"):  # called by itself too, before tokens are generated
            register_fsdp_forward_method(model, "encode")
        return model
    if world.size == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    devices = [world.local_rank] if on_gpu else None
    return DistributedDataParallel(model, device_ids=devices)


def _blocks(model: Any) -> list[Any]:
    return [*getattr(model, "encoder_blocks", ()), *getattr(model, "blocks", ())]


def _compile_for_training(block: Any, dynamic: bool | None) -> None:
    """Compile the forward of `block`, its hooks left out; evaluation keeps the plain one.

    Evaluation and generation come with other lengths and a growing cache, and each of them would be
    compiled anew.
    """
    plain = block.forward
    fast = torch.compile(plain, dynamic=dynamic)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return (fast if block.training else plain)(*args, **kwargs)

    block.forward = forward  # on the object, before that of its class


def without_compiler(model: Any) -> None:
    """Take back what `spread` compiled."""
    for block in _blocks(model):
        vars(block).pop("forward", None)


def without_exchange(forward: Any, model: Any, last: bool) -> AbstractContextManager[Any]:
    """Gradients are exchanged in the last micro-batch of a step only."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
        return nullcontext()
    if isinstance(forward, DistributedDataParallel) and not last:
        return forward.no_sync()
    return nullcontext()


def release(model: Any) -> None:
    """Forget gathered weights: the next forward gathers them anew from the processes' parts."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def is_spread(model: Any) -> bool:
    """Whether every process holds only a part of the model's weights."""
    return isinstance(model, FSDPModule)


def whole_value(tensor: torch.Tensor) -> float:
    """A scalar that may be spread over processes."""
    full = getattr(tensor, "full_tensor", None)
    return float(full() if full is not None else tensor)
