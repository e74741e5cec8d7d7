"""Files to ids: `Encoding.encode_files`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bpe_rs import _core
from bpe_rs._sources import PathLike, Text, as_path, as_text, parquet_texts, runs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bpe_rs._encoding import Encoding
    from bpe_rs._progress import BytesCallback


def encode_files(
    encoding: Encoding,
    paths: Iterable[PathLike] | PathLike,
    *,
    separator: Text | None,
    special_tokens: bool,
    out: PathLike | None,
    dtype: npt.DTypeLike | None,
    field: str,
    num_threads: int | None,
    progress: BytesCallback | None,
) -> npt.NDArray[np.unsignedinteger] | int:
    """See `Encoding.encode_files`."""
    import numpy as np

    if isinstance(paths, str | bytes | os.PathLike):
        paths = [paths]
    if not isinstance(paths, Iterable):
        raise TypeError(f"paths: expected a path or several, got {type(paths).__name__}")
    files = [as_path(path, "paths") for path in paths]
    end = None if separator is None else as_text(separator, "separator")
    if not isinstance(special_tokens, bool):
        raise TypeError(
            "special_tokens: expected True or False (whether those in texts are recognised), got "
            f"{type(special_tokens).__name__}"
        )
    fits_uint16 = encoding.max_token_value <= np.iinfo(np.uint16).max
    id_type = np.dtype(dtype if dtype is not None else (np.uint16 if fits_uint16 else np.uint32))
    if id_type not in (np.uint16, np.uint32):
        raise ValueError(f"expected dtype uint16 or uint32, got {id_type}")
    if id_type == np.uint16 and not fits_uint16:
        raise ValueError(
            f"expected dtype uint32: ids of {encoding.name} go up to {encoding.max_token_value}"
        )
    writer = _core.IdWriter(
        None if out is None else as_path(out, "out"), id_type.itemsize, encoding
    )
    try:
        for run, has_columns in runs(files):
            if has_columns:
                for texts in parquet_texts(run[0], field):
                    writer.encode_documents(
                        encoding, texts, end, special_tokens, num_threads, progress
                    )
            else:
                writer.encode_files(
                    encoding, run, end, special_tokens, field, num_threads, progress
                )
        count = writer.count
        data = writer.finish()
    except BaseException:
        writer.discard()
        raise
    if out is not None:
        return count
    return data.view(np.uint16 if id_type == np.uint16 else np.uint32)
