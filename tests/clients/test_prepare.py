"""Data preparation: nanoGPT's script and `datasets.map`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.clients

Both = Callable[[Callable[[ModuleType], Any]], tuple[Any, Any]]


def test_nanogpt_prepare(with_both: Both, shakespeare: str, tmp_path: Path) -> None:
    """What nanoGPT's `data/shakespeare/prepare.py` does: a 90/10 split, gpt2 ids as uint16."""

    def prepare(tiktoken: ModuleType) -> list[bytes]:
        name = "r50k_base"  # gpt2's ranks under the name whose file is at hand offline
        encoding = tiktoken.get_encoding(name)
        cut = int(len(shakespeare) * 0.9)
        files = []
        for split, text in (("train", shakespeare[:cut]), ("val", shakespeare[cut:])):
            path = tmp_path / f"{tiktoken.__name__}-{split}.bin"
            np.array(encoding.encode_ordinary(text), dtype=np.uint16).tofile(path)
            files.append(path.read_bytes())
        return files

    theirs, ours = with_both(prepare)
    assert ours == theirs
    assert [len(file) // 2 for file in ours] == [301_966, 36_059]


def test_nanogpt_prepare_by_its_own_name(shakespeare: str) -> None:
    ours = pytest.importorskip("bpe_rs.tiktoken")
    encoding = ours.get_encoding("gpt2")
    cut = int(len(shakespeare) * 0.9)
    parts = (shakespeare[:cut], shakespeare[cut:])
    assert [len(encoding.encode_ordinary(part)) for part in parts] == [301_966, 36_059]


def test_nanogpt_openwebtext(with_both: Both, shakespeare: str) -> None:
    """What nanoGPT's `data/openwebtext/prepare.py` does: `datasets.map` over two processes."""
    datasets = pytest.importorskip("datasets")
    rows = [{"text": text} for text in shakespeare[:200_000].split("\n\n")]

    def prepare(tiktoken: ModuleType) -> tuple[list[Any], int]:
        encoding = tiktoken.get_encoding("r50k_base")

        def process(example: dict[str, str]) -> dict[str, Any]:
            ids = [*encoding.encode_ordinary(example["text"]), encoding.eot_token]
            return {"ids": ids, "len": len(ids)}

        tokenized = datasets.Dataset.from_list(rows).map(
            process, remove_columns=["text"], num_proc=2, load_from_cache_file=False
        )
        return tokenized["ids"][:], int(np.sum(tokenized["len"], dtype=np.uint64))

    theirs, ours = with_both(prepare)
    assert ours == theirs and ours[1] > 50_000


@pytest.mark.parametrize("num_proc", [None, 2])
@pytest.mark.parametrize("batched", [True, False])
def test_datasets_map(
    transformers_pair: tuple[Any, Any], shakespeare: str, batched: bool, num_proc: int | None
) -> None:
    """A tokenizer of transformers inside `datasets.map`, pickled into its workers."""
    datasets = pytest.importorskip("datasets")
    rows = [{"text": text} for text in shakespeare[:60_000].split("\n\n")]

    def tokenize(tokenizer: Any) -> list[dict[str, Any]]:
        def process(example: Any) -> Any:
            return tokenizer(
                example["text"],
                truncation=True,
                max_length=32,
                padding="max_length",
                return_offsets_mapping=True,
            )

        mapped = datasets.Dataset.from_list(rows).map(
            process, batched=batched, num_proc=num_proc, load_from_cache_file=False
        )
        return mapped.to_list()

    theirs, ours = (tokenize(tokenizer) for tokenizer in transformers_pair)
    assert ours == theirs and len(ours) > 200
