"""Files to ids: `Encoding.encode_files`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bpe_rs import _core
from bpe_rs._sources import parquet_texts, runs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bpe_rs._encoding import Encoding
    from bpe_rs._progress import BytesCallback


def encode_files(
    encoding: Encoding,
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    separator: str | None,
    special_tokens: bool,
    out: str | os.PathLike[str] | None,
    dtype: npt.DTypeLike | None,
    field: str,
    num_threads: int | None,
    progress: BytesCallback | None,
) -> npt.NDArray[np.unsignedinteger] | int:
    """See `Encoding.encode_files`."""
    import numpy as np

    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    fits_uint16 = encoding.max_token_value <= np.iinfo(np.uint16).max
    id_type = np.dtype(dtype if dtype is not None else (np.uint16 if fits_uint16 else np.uint32))
    if id_type not in (np.uint16, np.uint32):
        raise ValueError(f"expected dtype uint16 or uint32, got {id_type}")
    if id_type == np.uint16 and not fits_uint16:
        raise ValueError(
            f"expected dtype uint32: ids of {encoding.name} go up to {encoding.max_token_value}"
        )
    writer = _core.IdWriter(None if out is None else Path(out), id_type.itemsize, encoding)
    try:
        for run, has_columns in runs(map(Path, paths)):
            if has_columns:
                for texts in parquet_texts(run[0], field):
                    writer.encode_documents(
                        encoding, texts, separator, special_tokens, num_threads, progress
                    )
            else:
                writer.encode_files(
                    encoding, run, separator, special_tokens, field, num_threads, progress
                )
        count = writer.count
        data = writer.finish()
    except BaseException:
        writer.discard()
        raise
    if out is not None:
        return count
    return data.view(np.uint16 if id_type == np.uint16 else np.uint32)
