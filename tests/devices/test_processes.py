"""A single process needs no collective; what torchrun sets must be numbers."""

import pytest
import torch

from gptpy.config import ConfigError
from gptpy.devices import processes
from gptpy.devices.processes import (
    World,
    distribute,
    full_value,
    gradient_sync,
    is_sharded,
    join_world,
    leave_world,
)

CPU = torch.device("cpu")


def test_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    world = join_world()
    assert world == World(0, 1, 0) and world.is_main
    assert world.sum(2.5, CPU) == 2.5 and world.from_main(2.5, CPU) == 2.5
    assert world.any(True, CPU) and not world.any(False, CPU)
    world.barrier()
    leave_world()


def test_a_device_without_float64_gets_none(monkeypatch):
    moved = []

    def to(tensor, device):
        moved.append((tensor.dtype, device.type))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", to)
    for device in ("mps", "cuda"):
        processes._scalar(2.5, torch.device(device))
    assert moved == [(torch.float32, "mps"), (torch.float64, "cuda")]


def test_waiting_for_what_one_process_prepares_has_no_time_out(monkeypatch):
    """That of collectives is some minutes: preparing a large text takes longer."""
    calls = []
    monkeypatch.setattr(
        processes.dist, "new_group", lambda **how: calls.append(how["timeout"]) or "group"
    )
    monkeypatch.setattr(processes.dist, "barrier", calls.append)
    monkeypatch.setattr(processes.dist, "destroy_process_group", calls.append)
    World(1, 2).wait_for_main()
    assert calls[0].days >= 7 and calls[1:] == ["group", "group"]
    World().wait_for_main()
    assert len(calls) == 3


def test_a_model_alone_stays_as_it_is():
    model = torch.nn.Linear(2, 2)
    for kind in ("auto", "ddp", "fsdp"):
        assert distribute(model, World(), kind) is model
    assert not is_sharded(model) and full_value(torch.tensor(1.5)) == 1.5
    with gradient_sync(model, model, last=False):
        pass


def test_variables_that_are_no_numbers(monkeypatch):
    monkeypatch.setenv("RANK", "first")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="must be integers"):
        join_world()
