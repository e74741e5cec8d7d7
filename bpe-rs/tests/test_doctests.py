"""Every example in a docstring of bpe_rs runs and prints what it says."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import bpe_rs
import pytest


def modules() -> list[str]:
    found = pkgutil.walk_packages(bpe_rs.__path__, "bpe_rs.")
    return ["bpe_rs", *(module.name for module in found if module.name != "bpe_rs._core")]


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(module, optionflags=flags)
    assert failed == 0
