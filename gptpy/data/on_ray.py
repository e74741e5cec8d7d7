"""`prepare` on a Ray cluster: every slice of the sources is a row of a Ray data set.

The machines share the output folder, as the processes of `torchrun` do. Slices that are done are
skipped; Ray starts a task again that dies.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptpy.data.errors import DataError
from gptpy.data.formats import absolute_spec
from gptpy.data.prepare import PrepareOptions, prepare
from gptpy.data.prepared import MANIFEST
from gptpy.data.sources import list_slices
from gptpy.runs.progress import Reporter, Silent
from gptpy.tokenizer import open_tokenizer


def prepare_on_ray(
    sources: Sequence[str],
    tokenizer: str,
    folder: Path,
    options: PrepareOptions | None = None,
    *,
    reporter: Reporter | None = None,
) -> None:
    """Encode `sources` into `folder` by `map_batches`, one slice a task.

    `tokenizer` is a name or path that every machine can open; so are `sources` and `folder`.
    Joins the cluster of `RAY_ADDRESS`, or starts one of this machine's cores. Raises `DataError`.
    """
    # Started by `uv run`, Ray copies the current folder to every worker and starts it through uv
    # there, in an environment without ray, and waits forever. This keeps workers in the driver's
    # own environment. Ray reads it on import; a value set outside is kept.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError("preparing on Ray needs ray: pip install 'gptpy-lm[ray]'") from None
    options, reporter = options or PrepareOptions(), reporter or Silent()
    count = len(list_slices(sources, options.slice_bytes, separator=options.separator))
    sources = [_absolute(source) for source in sources]
    tokenizer, folder = _absolute(tokenizer), folder.resolve()
    # A rank without slices: claims the folder, and refuses another job's, before any task starts
    prepare(sources, open_tokenizer(tokenizer), folder, options, rank=count, world_size=count + 1)

    def encode(batch: dict[str, np.ndarray]) -> dict[str, Any]:
        messages = _Messages()
        for number in batch["slice"].tolist():
            prepare(
                sources,
                open_tokenizer(tokenizer),
                folder,
                options,
                rank=number,
                world_size=count,
                reporter=messages,
            )
        return {"message": messages.texts}

    started = not ray.is_initialized()
    try:
        numbers = ray.data.from_items([{"slice": number} for number in range(count)])
        numbers = numbers.repartition(count)  # one block a slice: one task a slice
        for row in numbers.map_batches(encode, batch_size=1).iter_rows():
            reporter.on_message(row["message"])
    finally:
        if started:
            ray.shutdown()
    if not (folder / MANIFEST).is_file():
        raise DataError(f"{folder}: some slices are not done; run the same command again")


class _Messages(Silent):
    """Collects messages in a task, whose process has no terminal."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str) -> None:
        self.texts.append(text)


def _absolute(source: str) -> str:
    """`source` as tasks can open it, which run in other working directories than this process."""
    if source.startswith("hf:"):
        return absolute_spec(source)
    return str(Path(source).resolve()) if Path(source).exists() else source
