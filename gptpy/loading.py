"""What several commands do first: a run directory or a prepared data set, opened and made ready."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gptpy import checkpoint
from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig
from gptpy.data.dataset import Dataset
from gptpy.data.prepared import Prepared
from gptpy.model import build_model
from gptpy.precision import choose_device, choose_dtype
from gptpy.tokenizer import Tokenizer, end_of_text, open_tokenizer


@dataclass(frozen=True)
class Loaded:
    """A trained model with its tokenizer, ready to use."""

    folder: Path
    config: RunConfig
    model: Any
    tokenizer: Tokenizer
    dtype: torch.dtype
    step: int

    @property
    def end_of_text(self) -> int | None:
        """The id that ends documents."""
        return end_of_text(self.tokenizer)


def open_run(
    path: str | Path, *, step: int | None = None, device: str = "auto", dtype: str = "auto"
) -> Loaded:
    """Load a run directory, or one of its checkpoints, for evaluation and generation.

    Averaged weights are taken where the run kept them. Raises `CheckpointError` or `ConfigError`.
    """
    folder = checkpoint.find(path, step)
    config = checkpoint.read_config(folder)
    run = checkpoint.run_of(folder)
    where = choose_device(device)
    kind, _ = choose_dtype(where, dtype)
    model = build_model(config.model)
    checkpoint.restore(folder, model, averaged=True)
    model.to(where).eval()
    model.select_attention(dtype=kind)
    tokenizer = open_tokenizer(run)
    if tokenizer.n_vocab > config.model.vocab_size:
        raise ConfigError(
            f"{run}: the tokenizer has {tokenizer.n_vocab} tokens, the model "
            f"{config.model.vocab_size}: they do not belong together"
        )
    return Loaded(run, config, model, tokenizer, kind, checkpoint.read_state(folder)["step"])


def training_data(prepared: Prepared, config: RunConfig) -> Dataset:
    """The training split as windows for this configuration."""
    if prepared.vocab_size > config.model.vocab_size:
        raise ConfigError(
            f"{prepared.folder} has ids up to {prepared.vocab_size - 1}, but model.vocab_size is "
            f"{config.model.vocab_size}: set model.vocab_size {prepared.vocab_size}"
        )
    return Dataset(
        prepared.train.shards,
        config.model.block_size,
        seed=config.train.seed,
        end_of_text=prepared.end_of_text,
        document_mask=config.data.document_mask,
        min_length=config.data.min_length,
    )
