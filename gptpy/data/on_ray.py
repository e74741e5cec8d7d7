"""`prepare` on a Ray cluster: every slice of the sources is a row of a Ray data set.

The machines share the output folder, as the processes of `torchrun` would; what was done before is
skipped, a task that dies is started again by Ray.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptpy.data import hugging_face
from gptpy.data.ids import DataError
from gptpy.data.prepare import PrepareOptions, prepare
from gptpy.data.prepared import MANIFEST
from gptpy.data.sources import list_slices
from gptpy.tokenizer import open_tokenizer


def prepare_on_ray(
    sources: Sequence[str],
    tokenizer: str,
    folder: Path,
    options: PrepareOptions | None = None,
    *,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Encode `sources` into `folder` by `map_batches`, one slice a task.

    `tokenizer` is a name or path that every machine can open; so are `sources` and `folder`.
    Joins the cluster of `RAY_ADDRESS`, or starts one of this machine's cores. Raises `DataError`.
    """
    # Started by `uv run`, Ray would copy the current folder to every worker and start it through uv
    # there, in an environment without ray, and wait for it for ever. Workers are to run in the
    # driver's own environment.
    # Ray reads this when it is imported; "1" set outside asks for Ray's way.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError("preparing on Ray needs ray: pip install 'gptpy[ray]'") from None
    options = options or PrepareOptions()
    count = len(list_slices(sources, options.slice_bytes, separator=options.separator))
    sources = [_absolute(source) for source in sources]
    tokenizer, folder = _absolute(tokenizer), folder.resolve()
    # Claims the folder and refuses another job's before a task is started
    prepare(sources, open_tokenizer(tokenizer), folder, options, rank=count, world_size=count + 1)

    def encode(batch: dict[str, np.ndarray]) -> dict[str, Any]:
        told: list[str] = []
        for number in batch["slice"].tolist():
            prepare(
                sources,
                open_tokenizer(tokenizer),
                folder,
                options,
                rank=number,
                world_size=count,
                say=told.append,
            )
        return {"told": told}

    started = not ray.is_initialized()
    try:
        numbers = ray.data.from_items([{"slice": number} for number in range(count)])
        numbers = numbers.repartition(count)  # one block a slice: one task a slice
        for row in numbers.map_batches(encode, batch_size=1).iter_rows():
            say(row["told"])
    finally:
        if started:
            ray.shutdown()
    if not (folder / MANIFEST).is_file():
        raise DataError(f"{folder}: some slices are not done; run the same command again")


def _absolute(source: str) -> str:
    """Tasks run in other folders than this process."""
    if source.startswith("hf:"):
        return hugging_face.absolute(source)
    return str(Path(source).resolve()) if Path(source).exists() else source
