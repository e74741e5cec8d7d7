"""Batches for an encoder: some tokens masked, and those as targets (BERT, Devlin et al. 2018)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gptpy.data.dataset import IGNORE, Batch
from gptpy.data.permutation import draw
from gptpy.model import mask_tokens


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
