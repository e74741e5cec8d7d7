"""Files to ids: the method `Encoding.encode_files`."""

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
    self: Encoding,
    paths: Iterable[PathLike] | PathLike,
    *,
    separator: Text | None = None,
    special_tokens: bool = False,
    out: PathLike | None = None,
    dtype: npt.DTypeLike | None = None,
    field: str = "text",
    num_threads: int | None = None,
    progress: BytesCallback | None = None,
) -> npt.NDArray[np.unsignedinteger] | int:
    """The ids of files, in order: one array, or with `out` their number.

    Files are plain UTF-8 text, `.jsonl` lines or `.parquet` rows (needs pyarrow) with the text
    under `field`; all but Parquet also compressed as `.gz` or `.zst`. `separator`: a special
    token that ends a document where it occurs in a file of plain text (in a line or row it is
    plain text) and is written after every document. `special_tokens`: whether all special
    tokens in texts are recognised (by default they are plain text). `dtype`: by default uint16
    where all ids fit, else uint32. `out`: an id file, written with bounded memory, which
    appears when it is complete. `num_threads`: by default one per core. `progress` is called
    with the bytes of text encoded so far in all files; an exception that it raises stops the
    work, and so does Ctrl-C.

    Raises `ValueError` for bytes that are not UTF-8, lines or rows without strings under the
    field, a separator that is no special token; and `OSError`, also for a file that becomes
    shorter meanwhile.
    """
    import numpy as np

    if isinstance(paths, str | bytes | os.PathLike):
        paths = [paths]
    if not isinstance(paths, Iterable):
        raise TypeError(f"paths: expected a path or several, got {type(paths).__name__}")
    files = [as_path(path, "paths") for path in paths]
    end = None if separator is None else as_text(separator, "separator")
    field = as_text(field, "field")
    if not isinstance(special_tokens, bool):
        raise TypeError(
            "special_tokens: expected True or False (whether those in texts are recognised), got "
            f"{type(special_tokens).__name__}"
        )
    fits_uint16 = self.max_token_value <= np.iinfo(np.uint16).max
    id_type = np.dtype(dtype if dtype is not None else (np.uint16 if fits_uint16 else np.uint32))
    if id_type not in (np.uint16, np.uint32):
        raise ValueError(f"expected dtype uint16 or uint32, got {id_type}")
    if id_type == np.uint16 and not fits_uint16:
        raise ValueError(
            f"expected dtype uint32: ids of {self.name} go up to {self.max_token_value}"
        )
    path = None if out is None else as_path(out, "out")
    writer = _core.IdWriter(self, path, id_type.itemsize, end, special_tokens, field, num_threads)
    try:
        for run, has_columns in runs(files):
            if has_columns:
                for texts in parquet_texts(run[0], field):
                    writer.encode_documents(texts, progress)
            else:
                writer.encode_files(run, progress)
        count = writer.count
        data = writer.finish()
    except BaseException:
        writer.discard()
        raise
    if out is not None:
        return count
    return data.view(np.uint16 if id_type == np.uint16 else np.uint32)
