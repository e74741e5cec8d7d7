"""Real projects, unchanged and offline, on their own tokenizer and on ours.

They are installed by `make test-clients` (dependency group `clients`) and skipped elsewhere.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest

RANKS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
ALIASES = {"gpt2": "r50k_base"}

T = TypeVar("T")

for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ[variable] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if os.environ.get("GPTPY_CLIENTS"):
        return
    skip = pytest.mark.skip(reason="other projects on our tokenizer: make test-clients")
    for item in items:
        if here in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def tiktoken(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """tiktoken itself, reading the published rank files from disk."""
    cache = tmp_path_factory.mktemp("ranks")
    for name in ("r50k_base", "p50k_base", "cl100k_base", "o200k_base"):
        url = RANKS.format(name)
        shutil.copy(
            shared_dir / "vocab" / f"{name}.tiktoken",
            cache / hashlib.sha1(url.encode()).hexdigest(),
        )
    os.environ["TIKTOKEN_CACHE_DIR"] = str(cache)
    return importlib.import_module("tiktoken")


@contextmanager
def _ours_as_tiktoken() -> Iterator[ModuleType]:
    """`import tiktoken` gives ours: what changing that line in a project does."""
    ours = importlib.import_module("bpe_rs.tiktoken")
    saved = {name: module for name, module in sys.modules.items() if _is_tiktoken(name)}
    for name in saved:
        del sys.modules[name]
    sys.modules["tiktoken"] = ours
    for part in ("core", "load", "model", "registry"):
        sys.modules[f"tiktoken.{part}"] = importlib.import_module(f"bpe_rs.tiktoken.{part}")
    try:
        yield ours
    finally:
        for name in [name for name in sys.modules if _is_tiktoken(name)]:
            del sys.modules[name]
        sys.modules.update(saved)


def _is_tiktoken(name: str) -> bool:
    return name.split(".")[0] == "tiktoken"


@pytest.fixture
def with_both(tiktoken: ModuleType) -> Callable[[Callable[[ModuleType], T]], tuple[T, T]]:
    """Calls a client twice: where `tiktoken` is tiktoken, and where it is ours."""

    def run(client: Callable[[ModuleType], T]) -> tuple[T, T]:
        sys.modules["tiktoken"] = tiktoken
        theirs = client(tiktoken)
        with _ours_as_tiktoken() as ours:
            return theirs, client(ours)

    return run


@pytest.fixture(scope="session")
def shakespeare(shared_dir: Path) -> str:
    return (shared_dir / "data" / "tinyshakespeare.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def multilingual(shared_dir: Path) -> str:
    import gzip

    with gzip.open(shared_dir / "data" / "multilingual-22mb.txt.gz", "rb") as file:
        return file.read(200_000).decode("utf-8", errors="ignore")


@pytest.fixture(scope="session")
def transformers_pair(shared_dir: Path) -> tuple[Any, Any]:
    """GPT-2's tokenizer of `transformers`: on Hugging Face's engine, and on ours."""
    import transformers
    from bpe_rs.hf import from_pretrained_fast

    file = str(shared_dir / "vocab" / "gpt2-tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=file,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        model_max_length=128,
    )
    theirs.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}"
        "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    return theirs, from_pretrained_fast(theirs)


@pytest.fixture(scope="session")
def tiny_gpt2() -> Any:
    """A random GPT-2 of two narrow layers; the same every time it is made."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=128)
    return transformers.GPT2LMHeadModel(config).eval()
