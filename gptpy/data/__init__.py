"""Data: texts to ids, ids to prepared shards, shards to batches of windows and rows.

Files in the order in which data passes: files, text, formats, sources, documents; ids, prepared,
prepare, on_ray; dataset, rows, chat, examples; material.
"""

from typing import TYPE_CHECKING, Any

from gptpy.data.errors import DataError
from gptpy.data.ids import IdFile, IdWriter, open_ids

if TYPE_CHECKING:
    from gptpy.data.dataset import Batch, Dataset

__all__ = ["Batch", "DataError", "Dataset", "IdFile", "IdWriter", "open_ids"]


def __getattr__(name: str) -> Any:
    """`Batch` and `Dataset` load on first use: they need torch, and preparing data does not."""
    if name in ("Batch", "Dataset"):
        from gptpy.data import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
