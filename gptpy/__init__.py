"""GPT training and generation. Names load on first use, so that `import gptpy` stays quick."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptpy.config import ConfigError as ConfigError
    from gptpy.config import GPTConfig as GPTConfig
    from gptpy.config import GptpyError as GptpyError
    from gptpy.config.training import TrainConfig as TrainConfig
    from gptpy.data import Dataset as Dataset
    from gptpy.model import GPT as GPT
    from gptpy.model import Block as Block
    from gptpy.model import SelfAttention as SelfAttention
    from gptpy.model import build_model as build_model
    from gptpy.model.maps import attention_maps as attention_maps
    from gptpy.model.sampling import generate as generate
    from gptpy.runs.opening import load as load
    from gptpy.train import Trainer as Trainer

_MODULES = {
    "ConfigError": "gptpy.config",
    "GPTConfig": "gptpy.config",
    "GptpyError": "gptpy.config",
    "TrainConfig": "gptpy.config.training",
    "Dataset": "gptpy.data",
    "Trainer": "gptpy.train",
    "GPT": "gptpy.model",
    "Block": "gptpy.model",
    "SelfAttention": "gptpy.model",
    "build_model": "gptpy.model",
    "attention_maps": "gptpy.model.maps",
    "generate": "gptpy.model.sampling",
    "load": "gptpy.runs.opening",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gptpy' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


def _refuse_another_bpe_rs() -> None:
    """Raise `ImportError` where `import bpe_rs` would find a package that is not ours.

    The package index has an unrelated project whose module bears the same name. Ours is the one
    whose `__init__.py` imports an extension module `_core`. Nothing is imported here.
    """
    spec = find_spec("bpe_rs")
    if spec is None:
        return
    where = Path(spec.origin or next(iter(spec.submodule_search_locations or ()), ""))
    if where.name == "__init__.py" and "_core" in where.read_text(encoding="utf-8"):
        return
    owner = _distribution_of(where)
    if owner is None:
        belongs = "to no installed distribution"
        remedy = "move it off sys.path, then pip install gptpy-bpe"
    else:
        belongs = f"to the distribution {owner}, not to gptpy-bpe"
        # Both may have written into one folder: remove both, so that ours is whole again.
        remedy = f"pip uninstall {owner.split()[0]} gptpy-bpe, then pip install gptpy-bpe"
    raise ImportError(f"gptpy needs its own bpe_rs, but {where} belongs {belongs}: {remedy}")


def _distribution_of(path: Path) -> str | None:
    """Name and version of the installed distribution that holds the file `path`."""
    from importlib.metadata import distributions

    for distribution in distributions():
        for file in distribution.files or ():
            if file.name == path.name and Path(str(file.locate())) == path:
                return f"{distribution.metadata['Name']} {distribution.version}"
    return None


_refuse_another_bpe_rs()
