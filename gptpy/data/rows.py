"""Batches of padded rows: one document, pair of texts or conversation each.

For an encoder, `Masked` hides some tokens of rows or windows and makes them the targets (BERT,
Devlin et al. 2018).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gptpy.data.dataset import IGNORE, Batch, draw, number_documents, permute
from gptpy.data.errors import DataError
from gptpy.data.formats import kind_of
from gptpy.data.ids import digest_of
from gptpy.model import mask_tokens
from gptpy.tokenizer import Tokenizer

PAD_TO = 16  # padded lengths are multiples of this, so that batches have few different shapes


@dataclass(frozen=True)
class Row:
    """`inputs`, `targets`: (T,) int64, targets -100 where nothing is scored.

    `source`: (S,) int64, what the encoder of an encoder-decoder reads.
    """

    inputs: np.ndarray
    targets: np.ndarray
    source: np.ndarray | None = None


class Rows:
    """Rows in a random order that any process can compute, padded batch by batch.

    As in `Dataset`, sample `i` of a run is row `permute(i mod n)` of epoch `i div n`. With
    `key_padding` batches carry the padding mask that an encoder needs; a causal mask hides padding
    on the right anyway. With `end_of_text` batches number the documents in each row, as those of
    `Dataset` do. Raises `DataError` without rows, and for a row longer than `block_size`.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        block_size: int,
        *,
        seed: int = 0,
        key_padding: bool = False,
        end_of_text: int | None = None,
    ) -> None:
        self.rows = list(rows)
        self.block_size = block_size
        self.seed = seed
        self.key_padding = key_padding
        self.end_of_text = end_of_text
        self.n_windows = len(self.rows)
        self.varying = True
        if not self.rows:
            raise DataError("there is no row to train on: the sources hold no text")
        for number, row in enumerate(self.rows):
            longest = max(len(row.inputs), 0 if row.source is None else len(row.source))
            if longest > block_size:
                raise DataError(
                    f"row {number} has {longest} tokens, model.block_size is {block_size}: raise "
                    "it, or leave the row out"
                )

    @property
    def n_ids(self) -> int:
        """Number of input ids in all rows."""
        return sum(len(row.inputs) for row in self.rows)

    @functools.cached_property
    def fingerprint(self) -> str:
        """What a run knows its data by: a digest of all rows, in their order."""
        parts = ((row.inputs, row.targets, row.source) for row in self.rows)
        return digest_of([part for row in parts for part in row if part is not None])

    def go_on_as(self, fingerprint: str | None) -> None:
        """Does nothing: all versions draw rows by one rule."""

    def batch(self, samples: np.ndarray, *, length_key: int | None = None) -> Batch:
        """The rows of these sample numbers. `length_key` is for windows and is ignored."""
        return self.stack([self.rows[i] for i in self.places(samples)])

    def places(self, samples: np.ndarray) -> list[int]:
        """The places in `rows` of an int64 array of sample numbers."""
        epochs, places = np.divmod(np.asarray(samples, dtype=np.int64), self.n_windows)
        found = [
            int(permute(np.array([place]), self.n_windows, self.seed, int(epoch))[0])
            for epoch, place in zip(epochs, places, strict=True)
        ]
        return found

    def stack(self, rows: Sequence[Row]) -> Batch:
        """Rows of different lengths as one batch, padded on the right."""
        inputs, real = _pad([row.inputs for row in rows], 0)
        targets, _ = _pad([row.targets for row in rows], IGNORE)
        extra = {"key_padding_mask": real} if self.key_padding else {}
        if rows[0].source is not None:
            source, mask = _pad([row.source for row in rows if row.source is not None], 0)
            extra |= {"source": source, "source_padding_mask": mask}
        documents = None
        if self.end_of_text is not None:  # padding counts as part of the last document
            documents = number_documents(inputs.masked_fill(~real, -1), self.end_of_text)
        return Batch(inputs, targets, documents, extra, int(real.sum()))


def _pad(rows: Sequence[np.ndarray], value: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(row) for row in rows)
    shape = (len(rows), -(-longest // PAD_TO) * PAD_TO)
    padded, real = np.full(shape, value, dtype=np.int64), np.zeros(shape, dtype=bool)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
        real[place, : len(row)] = True
    return torch.from_numpy(padded), torch.from_numpy(real)


def line_rows(
    texts: Iterable[str],
    tokenizer: Tokenizer,
    block_size: int,
    *,
    end: int,
    stride: int | None = None,
    causal: bool = True,
) -> Iterator[Row]:
    """A row of each text, in sliding windows where it is longer than `block_size`.

    Causal rows begin and end with `end`; each target is scored in one window only, with at least
    `block_size - stride` tokens before it except at the beginning. Rows that are not causal have
    their own ids as targets, for masking.
    """
    for text in texts:
        ids = np.asarray(tokenizer.encode_ordinary(text), dtype=np.int64)
        if not len(ids):
            continue
        if causal:
            ids = np.concatenate(([end], ids, [end]))
            yield from windows_of(ids[:-1], ids[1:], block_size, stride)
        else:
            yield from windows_of(ids, ids, block_size, stride)


def windows_of(
    inputs: np.ndarray, targets: np.ndarray, block_size: int, stride: int | None = None
) -> Iterator[Row]:
    """Windows of `block_size` that move by `stride`; only its first window scores a target."""
    stride = min(stride or block_size, block_size)
    seen = 0
    for start in range(0, len(inputs), stride):
        stop = min(start + block_size, len(inputs))
        scored = targets[start:stop].astype(np.int64)  # a copy, and signed, for IGNORE
        scored[: seen - start] = IGNORE
        yield Row(inputs[start:stop], scored)
        seen = stop
        if stop == len(inputs):
            return


def pair_rows(pairs: Iterable[tuple[str, str]], tokenizer: Tokenizer, *, end: int) -> Iterator[Row]:
    """Rows for an encoder-decoder: `end` stands after the source, and around the target."""
    for source, target in pairs:
        written = np.asarray([end, *tokenizer.encode_ordinary(target), end], dtype=np.int64)
        read = np.asarray([*tokenizer.encode_ordinary(source), end], dtype=np.int64)
        yield Row(written[:-1], written[1:], read)


def pair_of(row: Any, where: object) -> tuple[str, str]:
    """`source` and `target` of a parsed row of JSON; `DataError` where it is no pair."""
    found = kind_of(row)
    if isinstance(row, dict):
        source, target = row.get("source"), row.get("target")
        if isinstance(source, str) and isinstance(target, str):
            return source, target
        wrong = [key for key in ("source", "target") if not isinstance(row.get(key, ""), str)]
        found = f"{kind_of(row[wrong[0]])} under {wrong[0]!r}" if wrong else f"keys {sorted(row)}"
    raise DataError(f"{where}: expected texts under 'source' and 'target', found {found}")


class Masked:
    """A `Dataset` or `Rows` with tokens masked anew each time a row comes up.

    Which ones depends on the seed and the sample's number only, not on the other rows of the batch:
    it is the same for any number of processes and micro-batches, and after a resume.
    """

    def __init__(self, data: Any, mask_id: int, random_ids: int, share: float) -> None:
        self.data = data
        self.mask_id = mask_id
        self.random_ids = random_ids
        self.share = share
        self.block_size, self.seed, self.varying = data.block_size, data.seed, data.varying

    @property
    def n_ids(self) -> int:
        """Number of ids."""
        return self.data.n_ids

    @property
    def n_windows(self) -> int:
        """Samples of an epoch."""
        return self.data.n_windows

    @property
    def fingerprint(self) -> str:
        """That of the data beneath."""
        return self.data.fingerprint

    def go_on_as(self, fingerprint: str | None) -> None:
        """As the data beneath."""
        self.data.go_on_as(fingerprint)

    def batch(self, samples: np.ndarray, *, length_key: int | None = None) -> Batch:
        """The batch of `data`, masked."""
        return self.mask(self.data.batch(samples, length_key=length_key), samples)

    def mask(self, batch: Batch, samples: np.ndarray) -> Batch:
        """`batch`, whose rows are these sample numbers, with tokens masked."""
        real = batch.extra.get("key_padding_mask")
        inputs, targets = batch.inputs.clone(), torch.full_like(batch.inputs, IGNORE)
        for row, sample in enumerate(samples):
            length = inputs.shape[1] if real is None else int(real[row].sum())
            seed = draw(self.seed, int(sample), 4 << 32) >> 1
            hidden, wanted = mask_tokens(
                inputs[row, :length],
                self.mask_id,
                self.random_ids,
                probability=self.share,
                generator=torch.Generator().manual_seed(seed),
            )
            inputs[row, :length], targets[row, :length] = hidden, wanted
        return replace(batch, inputs=inputs, targets=targets)
