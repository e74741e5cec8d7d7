"""Data: texts, id files, and windows of ids in an order that any process can compute."""

from gptpy.data.dataset import Batch, Dataset
from gptpy.data.ids import DataError, IdFile, IdWriter, open_ids

__all__ = ["Batch", "DataError", "Dataset", "IdFile", "IdWriter", "open_ids"]
