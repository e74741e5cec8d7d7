"""Batches of equal length: `Encoding.encode_padded`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Literal

from bpe_rs import _core

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bpe_rs._encoding import Encoding


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
    if max_length is not None:
        max_length = _core.whole_number("max_length", max_length, 0, _core.MAX_ROW_LENGTH)
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
    if longest > width and not truncate:
        raise ValueError(
            f"expected texts of at most max_length={width} tokens, got one of {longest}: "
            "pass truncate=True to cut it"
        )
    kept = np.minimum(lengths, width)
    columns = np.arange(width)
    if side == "right":
        mask = columns < kept[:, None]
    else:
        mask = columns >= width - kept[:, None]
    ids = np.full((len(lengths), width), pad_id, np.int64)
    # `ids[mask]` runs row by row, like this list of places in `flat`: where the text begins, plus
    # the index of the token in its row.
    starts = np.repeat(offsets[:-1], kept)
    within_row = np.arange(int(kept.sum())) - np.repeat(np.cumsum(kept) - kept, kept)
    ids[mask] = flat[starts + within_row]
    return ids, mask.astype(np.int64)
