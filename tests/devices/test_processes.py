"""A process alone talks to nobody; what torchrun sets must be numbers."""

import pytest
import torch

from gptpy.config import ConfigError
from gptpy.devices.processes import World, join_world, leave_world
from gptpy.devices.sharding import distribute, full_value, gradient_sync, is_sharded

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
