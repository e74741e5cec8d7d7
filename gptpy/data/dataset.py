"""Batches of windows of ids, in a random order that any process can compute for itself.

Sample number i of a run is a fixed window: no process keeps state, and none needs another's. The
order is a permutation of 0..n-1 that needs no memory, computed from (seed, epoch, i).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from gptpy.data.errors import DataError
from gptpy.data.ids import digest_of, spans
from gptpy.model import IGNORE

WINDOWS = 2  # the rule of `windows_and_spare` for new runs
MANY_WINDOWS = 64


@dataclass
class Batch:
    """`inputs`, `targets`: (B, T) int64; a target of -100 is not scored."""

    inputs: torch.Tensor
    targets: torch.Tensor
    documents: torch.Tensor | None = None
    """(B, T) int64: number of the document in its row; given when attention must stay inside."""
    extra: dict[str, torch.Tensor] = field(default_factory=dict)
    """Further inputs of the model by name: padding masks, an encoder's source."""
    real: int | None = None
    """How many input ids are not padding; None: all of them."""

    @property
    def tokens(self) -> int:
        """Number of scored targets: all but those that are `IGNORE`, -100."""
        return int((self.targets != IGNORE).sum())

    def masks(self) -> dict[str, torch.Tensor]:
        """The model's inputs beside ids: `extra`, and `cu_seqlens` where documents are numbered.

        `cu_seqlens`: (documents + 1,) int32, where each document begins in the flattened batch.
        """
        if self.documents is None:
            return self.extra
        begins = torch.ones_like(self.documents, dtype=torch.bool)
        begins[:, 1:] = self.documents[:, 1:] != self.documents[:, :-1]
        offsets = begins.flatten().nonzero()[:, 0]
        end = torch.tensor([begins.numel()], device=offsets.device)
        return {**self.extra, "cu_seqlens": torch.cat((offsets, end)).to(torch.int32)}

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`."""
        documents = None if self.documents is None else self.documents.to(device)
        extra = {name: tensor.to(device) for name, tensor in self.extra.items()}
        moved = replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))
        return replace(moved, documents=documents, extra=extra)


class Samples(Protocol):
    """The data of a `Trainer`: batches of numbered samples, `n_windows` of them an epoch.

    Two more are used where data have them: `fingerprint` (str), by which a resumed run knows its
    data, and `go_on_as(fingerprint)`, which makes them draw samples by the rules of the run that
    saved it (None: a run of an older version).
    """

    block_size: int
    seed: int
    n_windows: int
    varying: bool
    """Whether batches differ in length."""

    @property
    def n_ids(self) -> int:
        """Number of ids."""
        ...

    def batch(self, samples: np.ndarray, *, length_key: int | None = None) -> Batch:
        """The samples of these numbers (int64) as one batch; `length_key` is the step's number."""
        ...


def windows_and_spare(n_ids: int, block_size: int, rule: int) -> tuple[int, int]:
    """How many windows an epoch has, and the largest shift, in ids, that all of them may have.

    The windows of an epoch lie side by side; the ids that are left over are spare. Even epochs
    shift all windows by nothing and by the whole spare in turn, odd epochs by a random number
    between. So in any four epochs in a row each id is a target. Where there are more than
    `MANY_WINDOWS`, one window is given up for a larger spare, so that borders fall everywhere, too.

    Rule 1, of runs begun by older versions, never reached the last ids: up to half of a short text.
    """
    if rule == 1:
        return max(0, (n_ids - block_size) // block_size), block_size - 1
    count, spare = divmod(max(0, n_ids - 1), block_size)
    return (count - 1, spare + block_size) if count > MANY_WINDOWS else (count, spare)


class Dataset(torch.utils.data.Dataset):
    """Token ids as one long sequence, cut into windows of `block_size` ids plus one.

    Also a map-style data set of torch: `dataset[i]` is window i from the beginning on, side by
    side, as `(inputs, targets)`, with `document_mask` `(inputs, targets, documents)`; `(T,)` each.

    Sample number `i` of a run is window `permute(i mod n)` of epoch `i div n`: without replacement
    inside an epoch, shifted anew in every epoch (`windows_and_spare`). `shards` are one-dimensional
    integer arrays; memory maps stay maps. With `end_of_text` and `document_mask`, batches number
    the documents in each window. With `min_length` each batch has a length drawn from
    `min_length..block_size`. Raises `DataError`.
    """

    def __init__(
        self,
        shards: Sequence[np.ndarray],
        block_size: int,
        *,
        seed: int = 0,
        end_of_text: int | None = None,
        document_mask: bool = False,
        min_length: int | None = None,
    ) -> None:
        self.shards = [shard for shard in shards if len(shard)]
        self.starts = np.cumsum([0, *(len(shard) for shard in self.shards)])
        self.block_size = block_size
        self.seed = seed
        self.end_of_text = end_of_text
        self.document_mask = document_mask
        self.min_length = min_length
        self.varying = min_length is not None
        self.use_windows(WINDOWS)
        if document_mask and end_of_text is None:
            raise DataError("document_mask needs a tokenizer with an end-of-text token")
        if min_length is not None and not 1 <= min_length <= block_size:
            raise DataError(
                f"min_length must lie in 1..{block_size} (block_size), got {min_length}"
            )

    @property
    def n_ids(self) -> int:
        """Number of ids."""
        return int(self.starts[-1])

    def __len__(self) -> int:
        return (self.n_ids - 1) // self.block_size

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        row = self.read(int(index) % len(self) * self.block_size, self.block_size + 1)
        batch = self._batch(row[None])
        parts = (batch.inputs, batch.targets, batch.documents)
        return tuple(part[0] for part in parts if part is not None)

    def use_windows(self, rule: int) -> None:
        """Cut windows by this rule; `DataError` where the ids are too few for one."""
        self.windows = rule
        self.n_windows, self.spare = windows_and_spare(self.n_ids, self.block_size, rule)
        if self.n_windows == 0:
            raise DataError(
                f"{self.n_ids} ids are too few for a context of {self.block_size}: at least "
                f"{self.block_size + 1} are needed; use more text or a smaller model.block_size"
            )

    @functools.cached_property
    def _digest(self) -> str:
        return digest_of(self.shards)

    @property
    def fingerprint(self) -> str:
        """What a run knows its data by: the rule of its windows, and a digest of the ids."""
        return f"{self.windows}-{self._digest}"

    def go_on_as(self, fingerprint: str | None) -> None:
        """Take the rule of the windows of a run that is resumed; None: one of an older version."""
        self.use_windows(int(fingerprint.partition("-")[0]) if fingerprint else 1)

    def window_start(self, sample: int) -> int:
        """Where sample number `sample` begins in the sequence of ids."""
        return int(self.window_starts(np.array([sample]))[0])

    def window_starts(self, samples: np.ndarray) -> np.ndarray:
        """`window_start` for an int64 array of sample numbers."""
        epochs, places = np.divmod(np.asarray(samples, dtype=np.int64), self.n_windows)
        starts = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            windows = permute(places[here], self.n_windows, self.seed, int(epoch))
            starts[here] = windows * self.block_size + self._shift(int(epoch))
        return starts

    def _shift(self, epoch: int) -> int:
        if self.windows > 1 and epoch % 2 == 0:
            # With random shifts alone the first and the last ids would hardly ever be reached
            return self.spare * (epoch % 4 == 2)
        return draw(self.seed, epoch, 1 << 32) % (self.spare + 1)

    def read(self, start: int, count: int) -> np.ndarray:
        """`count` ids from `start` on: (count,) int64, across shard borders."""
        if not 0 <= start <= start + count <= self.n_ids:
            raise IndexError(f"ids {start}..{start + count} of {self.n_ids}")
        if not count:
            return np.empty(0, np.int64)
        shard = int(np.searchsorted(self.starts, start, side="right")) - 1
        if start + count <= self.starts[shard + 1]:
            first = start - int(self.starts[shard])
            return self.shards[shard][first : first + count].astype(np.int64)
        parts = [part.astype(np.int64) for part in spans(self.shards, self.starts, start, count)]
        return np.concatenate(parts)

    def batch(self, samples: np.ndarray, *, length_key: int | None = None) -> Batch:
        """The windows of these sample numbers as one batch.

        With `min_length`, `length_key` (the step's number) decides the batch's length. All ranks
        and micro-batches of a step pass the same.
        """
        length, shift = self.block_size, 0
        if self.min_length is not None and length_key is not None:
            length = self.min_length + draw(self.seed, length_key, 2 << 32) % (
                self.block_size - self.min_length + 1
            )
            shift = draw(self.seed, length_key, 3 << 32) % (self.block_size - length + 1)
        rows = np.stack(
            [self.read(int(s) + shift, length + 1) for s in self.window_starts(samples)]
        )
        return self._batch(rows)

    def _batch(self, rows: np.ndarray) -> Batch:
        ids = torch.from_numpy(rows)
        inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        if not self.document_mask:
            return Batch(inputs, targets)
        assert self.end_of_text is not None
        return Batch(inputs, targets, number_documents(inputs, self.end_of_text))


def number_documents(inputs: torch.Tensor, end_of_text: int) -> torch.Tensor:
    """(B, T) int64: for each id of `inputs: (B, T)` the number of its document, counted by row.

    End-of-text counts as the first id of the document after it: training then predicts the first
    word of a document from a lone end-of-text, which is how generation without a prompt begins.
    """
    return torch.cumsum(inputs == end_of_text, dim=1)


# ---- The order: a Feistel network over the next power of four, walked until it lands inside 0..n-1
# ("cycle walking", Black and Rogaway 2002), is a bijection of 0..n-1 for every key. The key comes
# from (seed, epoch), so any position of any epoch is known without having visited those before it.

ROUNDS = 6
_MASK = np.uint64(0xFFFFFFFFFFFFFFFF)


def mix(value: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014): uint64 -> uint64, all bits depend on all."""
    value = value.astype(np.uint64)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def draw(*key: int) -> int:
    """One 64-bit number that depends on every integer of the key and on their order."""
    state = np.array([0x9E3779B97F4A7C15], np.uint64)
    for part in key:
        state = mix(state + np.array([part % (1 << 64)], np.uint64)) + np.uint64(1)
    return int(mix(state)[0])


def permute(index: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """The places `index` (any shape, 0..n-1, int64) of epoch `epoch`'s shuffle of 0..n-1."""
    index = np.asarray(index, dtype=np.uint64)
    if n < 1:
        raise ValueError(f"a permutation needs n >= 1, got {n}")
    if index.size and int(index.max()) >= n:
        raise ValueError(f"index must lie in 0..{n - 1}, got {int(index.max())}")
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    keys = [np.uint64(draw(seed, epoch, r)) for r in range(ROUNDS)]
    value = _feistel(index, half, keys)
    outside = value >= n
    while outside.any():
        # The network permutes at most 4 n values, so on average a quarter or more of those that are
        # outside land inside in every round
        value[outside] = _feistel(value[outside], half, keys)
        outside = value >= n
    return value.astype(np.int64)


def _feistel(value: np.ndarray, half: np.uint64, keys: list[np.uint64]) -> np.ndarray:
    low_mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & low_mask
    for key in keys:
        left, right = right, left ^ (mix(right + key) & low_mask)
    return (left << half) | right
