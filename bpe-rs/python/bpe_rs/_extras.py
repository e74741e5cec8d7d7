"""What `Encoding` has beyond tiktoken: files, padding, streams of text."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bpe_rs import _core
from bpe_rs._sources import parquet_texts, runs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bpe_rs._encoding import Encoding

Progress = Callable[[int], None]


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
    progress: Progress | None,
) -> npt.NDArray[np.unsignedinteger] | int:
    """See `Encoding.encode_files`."""
    import numpy as np

    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    narrow = encoding.max_token_value <= np.iinfo(np.uint16).max
    kind = np.dtype(dtype if dtype is not None else (np.uint16 if narrow else np.uint32))
    if kind not in (np.uint16, np.uint32):
        raise ValueError(f"expected dtype uint16 or uint32, got {kind}")
    if kind == np.uint16 and not narrow:
        raise ValueError(
            f"expected dtype uint32: ids of {encoding.name} go up to {encoding.max_token_value}"
        )
    writer = _core.IdWriter(None if out is None else Path(out), kind.itemsize, encoding)
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
    return data.view(np.uint16 if kind == np.uint16 else np.uint32)


def encode_padded(
    encoding: Encoding,
    texts: Sequence[str],
    max_length: int | None,
    *,
    pad_id: int | None,
    side: Literal["left", "right"],
    truncate: bool,
    allowed_special: Literal["all"] | AbstractSet[str],
    disallowed_special: Literal["all"] | Iterable[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """See `Encoding.encode_padded`."""
    import numpy as np

    if side not in ("left", "right"):
        raise ValueError(f"expected side 'left' or 'right', got {side!r}")
    if pad_id is None:
        pad_id = encoding.special_tokens.get("<|endoftext|>", 0)
    flat, offsets = encoding.encode_batch_to_numpy(
        texts,
        allowed_special=allowed_special,
        disallowed_special=tuple(disallowed_special) if disallowed_special != "all" else "all",
    )
    lengths = np.diff(offsets)
    longest = int(lengths.max(initial=0))
    width = longest if max_length is None else max_length
    if width < 0:
        raise ValueError(f"expected max_length >= 0, got {max_length}")
    if longest > width and not truncate:
        raise ValueError(
            f"expected texts of at most max_length={width} tokens, got one of {longest}: "
            "pass truncate=True to cut it"
        )
    kept = np.minimum(lengths, width)
    places = np.arange(width)
    if side == "right":
        mask = places < kept[:, None]
    else:
        mask = places >= width - kept[:, None]
    ids = np.full((len(lengths), width), pad_id, np.int64)
    # Row by row the kept ids are the first of each text, in the order in which the mask is read.
    rows = np.repeat(offsets[:-1], kept)
    within = np.arange(int(kept.sum())) - np.repeat(np.cumsum(kept) - kept, kept)
    ids[mask] = flat[rows + within]
    return ids, mask.astype(np.int64)


class DecodeStream:
    """Text of tokens that arrive one by one, never with half a character in it.

    >>> import bpe_rs
    >>> encoding = bpe_rs.get_encoding("gpt2")
    >>> stream = encoding.decode_stream()
    >>> [stream.push(token) for token in encoding.encode("Hi 好")]
    ['Hi', ' ', '', '好']
    >>> stream.finish()
    ''
    """

    def __init__(self, encoding: Encoding, errors: str = "replace") -> None:
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def push(self, token: int) -> str:
        """The text that is complete with this token. Raises `KeyError` for an unknown id."""
        return self._decoder.decode(self._encoding.decode_single_token_bytes(token))

    def finish(self) -> str:
        """What is left: bytes that never became a character, as `errors` says."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text
