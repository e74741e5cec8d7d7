"""Batches of equal length: the method `Encoding.encode_padded`."""

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
    self: Encoding,
    texts: Sequence[str],
    max_length: int | None = None,
    *,
    pad_id: int | None = None,
    side: Literal["left", "right"] = "right",
    truncate: bool = False,
    allowed_special: Literal["all"] | AbstractSet[str] = frozenset(),
    disallowed_special: Literal["all"] | Iterable[str] = "all",
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ids `(B, max_length)` int64, padded with `pad_id` at `side`, and a mask of the same shape
    that is 1 for ids of the text and 0 for padding.

    `max_length`: by default the number of ids of the longest text. `pad_id`: by default the id
    of `<|endoftext|>`, or 0.

    Raises `ValueError` for a longer text unless `truncate`, which keeps its first ids.
    """
    import numpy as np

    if side not in ("left", "right"):
        raise ValueError(f"expected side 'left' or 'right', got {side!r}")
    if max_length is not None:
        max_length = _core.whole_number("max_length", max_length, 0, _core.MAX_ROW_LENGTH)
    if pad_id is None:
        pad_id = self.special_tokens.get("<|endoftext|>", 0)
    flat, offsets = self.encode_batch_to_numpy(
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
