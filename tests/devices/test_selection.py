"""Device, number type and compiler: what is chosen, and what is refused."""

import shutil

import pytest
import torch

from gptpy.config import ConfigError
from gptpy.devices import selection
from gptpy.devices.selection import COMPILE_STEPS, choose_compile, choose_device, choose_dtype

CPU = torch.device("cpu")


def test_devices(monkeypatch):
    assert choose_device("cpu") == CPU
    with pytest.raises(ConfigError, match="'tpu' is not known"):
        choose_device("tpu")
    for cuda, mps, chosen in [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=cuda: there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=mps: there)
        assert choose_device().type == chosen
        for name, there in (("cuda", cuda), ("mps", mps)):
            if there:
                assert choose_device(name).type == name
            else:
                with pytest.raises(ConfigError, match=f"torch sees no {name.upper()} device"):
                    choose_device(name)


def test_number_types(monkeypatch):
    for native, chosen in [(True, torch.bfloat16), (False, torch.float32)]:
        monkeypatch.setattr(selection, "cpu_multiplies_bfloat16", lambda native=native: native)
        assert choose_dtype(CPU)[0] == chosen
    assert choose_dtype(CPU, "float16") == (torch.float16, "as configured")
    with pytest.raises(ConfigError, match="dtype must be auto or one of"):
        choose_dtype(CPU, "float8")


def test_compilers(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/c++" if name == "c++" else None)
    assert choose_compile(CPU, "on", 1) == (True, "as configured")
    assert choose_compile(CPU, "off", 10**6) == (False, "as configured")
    for steps, compiled in [(None, False), (COMPILE_STEPS - 1, False), (COMPILE_STEPS, True)]:
        assert choose_compile(CPU, "auto", steps)[0] is compiled
    assert not choose_compile(torch.device("mps"), "auto", 10**6)[0]
    assert choose_compile(torch.device("cuda"), "auto", 1)[0]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert choose_compile(CPU, "auto", 10**6) == (False, "there is no C++ compiler")
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler"):
        choose_compile(CPU, "on")
