"""Kernel tests run in Triton's interpreter on CPU tensors, or on a GPU (`make gpu-check`).

Triton decides when it is imported, and again when a kernel's module is, whether kernels are
interpreted: so triton is imported here, before any test module, and every test in this folder runs
with the variable set. Tests elsewhere do not see it.
"""

import os
import sys
from pathlib import Path

import pytest
import torch

# The oracle and the interpreter's repairs lie beside the tests; importlib mode adds no path.
sys.path.insert(0, str(Path(__file__).parent))

DEVICE = os.environ.get("GPTPY_KERNEL_DEVICE", "cpu")
MODE = "1" if DEVICE == "cpu" else "0"


def _import_triton() -> None:
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = MODE
    try:
        import triton  # noqa: F401
    except ImportError:
        pass  # the fixture below skips
    finally:
        if before is None:
            del os.environ["TRITON_INTERPRET"]
        else:
            os.environ["TRITON_INTERPRET"] = before


_import_triton()


@pytest.fixture(autouse=True)
def kernel_mode(monkeypatch):
    """Interpreted or compiled, for every test in this folder."""
    monkeypatch.setenv("TRITON_INTERPRET", MODE)


# Sweeps over every entry and every dtype take an hour: `make test-kernels-full` asks for them.
FULL = os.environ.get("GPTPY_KERNEL_TESTS") == "full" or DEVICE != "cpu"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if FULL or "slow" in (config.getoption("markexpr") or ""):
        return
    here = Path(__file__).parent
    slow = [i for i in items if here in i.path.parents and i.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in set(slow)]


def _is_interpreted() -> bool:
    from triton.runtime.interpreter import InterpretedFunction

    return isinstance(sys.modules["triton"].language.sum, InterpretedFunction)


@pytest.fixture(scope="session")
def kernel_device() -> torch.device:
    """Where kernels run: the CPU through the interpreter, or the GPU that was asked for."""
    if DEVICE == "cpu":
        if "triton" not in sys.modules:
            pytest.skip("triton is not installed")
        if not _is_interpreted():  # not a skip: a whole run would lose these tests in silence
            pytest.fail("triton was imported without TRITON_INTERPRET=1: by which test module?")
        from interpreter_repair import repair

        repair()
    return torch.device(DEVICE)
