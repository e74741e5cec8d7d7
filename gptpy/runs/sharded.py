"""Sharded tensors on disk: many processes write them, each its own part; any number reads them.

The format is that of `torch.distributed.checkpoint` with safetensors: a folder with one file per
process, which says where its parts belong. Nothing is pickled, nothing is gathered on one machine.
That module takes seconds to load, so it is imported only where shards are read or written.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from gptpy.config.errors import GptpyError
from gptpy.storage import atomic

if TYPE_CHECKING:
    from torch.distributed.checkpoint.api import CheckpointException

SHAPES = "shapes.json"


class ShardsError(GptpyError, ValueError):
    """Shards that cannot be written or read; the message names them and the reason."""


def write(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write every process's part of `tensors` into `folder`; all processes must call it.

    Raises `ShardsError` on every process when one of them fails at its part, and `OSError` on the
    first alone when it fails at the list of shapes.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    # A process may hold no row of a small tensor
    own = {name: tensor.detach() for name, tensor in tensors.items() if _local(tensor).numel()}
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save(own, storage_writer=writer)
        if dist.get_rank() == 0:
            # Each file names its own parts only: without this list a missing file goes unnoticed
            whole = {name: [*tensor.shape] for name, tensor in tensors.items()}
            atomic.write_text(folder / SHAPES, json.dumps(whole))
    except CheckpointException as error:
        raise ShardsError(f"{folder.name}: {_first_reason(error)}") from None


def _local(tensor: torch.Tensor) -> torch.Tensor:
    to_local = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()


def _first_reason(error: CheckpointException) -> str:
    rank, (cause, _) = min(error.failures.items())
    return f"process {rank}: {str(cause).strip() or type(cause).__name__}"


def shapes(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of every whole tensor in `folder`; `ShardsError` where a part is missing."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    try:
        whole = json.loads((folder / SHAPES).read_text(encoding="utf-8"))
        metadata = HuggingFaceStorageReader(str(folder)).read_metadata()
    except Exception as error:  # safetensors, JSON and the file system raise different classes
        raise ShardsError(f"{folder}: cannot be read: {error}") from None
    found: dict[str, tuple[torch.Size, torch.dtype]] = {}
    for name, shape in whole.items():
        kept = metadata.state_dict_metadata.get(name)
        chunks = kept.chunks if isinstance(kept, TensorStorageMetadata) else []
        there, expected = sum(math.prod(chunk.sizes) for chunk in chunks), math.prod(shape)
        if there != expected or not isinstance(kept, TensorStorageMetadata):
            raise ShardsError(
                f"{folder}: expected {expected} numbers of {name}, found {there}: "
                "a shard file is missing; copy the whole folder, or take an earlier checkpoint"
            )
        found[name] = (torch.Size(shape), kept.properties.dtype)
    return found


def fill(folder: Path, targets: Mapping[str, torch.Tensor]) -> None:
    """Copy what `folder` holds into `targets`, whole or sharded tensors, on any device.

    The caller checks names and shapes. With several processes all must call it.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    alone = not (dist.is_available() and dist.is_initialized())
    wanted = {name: tensor.detach() for name, tensor in targets.items() if _local(tensor).numel()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it warns of a single process
            load(wanted, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=alone)
    except CheckpointException as error:
        raise ShardsError(f"{folder}: {_first_reason(error)}") from None
