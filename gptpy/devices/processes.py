"""The processes of a run: this one's rank, and the few collectives that training needs."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

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
