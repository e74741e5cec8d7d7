"""GPT training and generation. Names load on first use, so that `import gptpy` stays quick."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptpy.config import ConfigError as ConfigError
    from gptpy.config import GPTConfig as GPTConfig
    from gptpy.config.training import TrainConfig as TrainConfig
    from gptpy.data import Dataset as Dataset
    from gptpy.model import GPT as GPT
    from gptpy.model import build_model as build_model
    from gptpy.model.sampling import generate as generate
    from gptpy.runs.opening import load as load
    from gptpy.train import Trainer as Trainer

_HOMES = {
    "ConfigError": "gptpy.config",
    "GPTConfig": "gptpy.config",
    "TrainConfig": "gptpy.config.training",
    "Dataset": "gptpy.data",
    "Trainer": "gptpy.train",
    "GPT": "gptpy.model",
    "build_model": "gptpy.model",
    "generate": "gptpy.model.sampling",
    "load": "gptpy.runs.opening",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gptpy' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
