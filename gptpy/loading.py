"""What several commands do first: a run directory or a prepared data set, opened and made ready."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gptpy import checkpoint
from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig
from gptpy.data.dataset import Dataset
from gptpy.data.prepared import Prepared, open_prepared
from gptpy.data.rows import reserve
from gptpy.model import build_model
from gptpy.model.lora import add_adapters, merge_adapters
from gptpy.precision import choose_device, choose_dtype
from gptpy.tokenizer import Tokenizer, end_of_text, open_tokenizer

OWN_DATA, OWN_VALIDATION = "data", "validation"  # a run's own, made from `data.sources`


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
        """The id that ends texts, the tokenizer's or one that the run has added."""
        data = self.config.data
        if data.form == "stream":
            return end_of_text(self.tokenizer)
        return reserve(self.tokenizer, self.config.model.architecture, data.form).end


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
    if config.lora is not None:
        add_adapters(model, config.lora)
    checkpoint.restore(folder, model, averaged=True)
    if config.lora is not None:
        merge_adapters(model)
    model.to(where).eval()
    model.select_attention(dtype=kind)
    tokenizer = open_tokenizer(run)
    if tokenizer.n_vocab > config.model.vocab_size:
        raise ConfigError(
            f"{run}: the tokenizer has {tokenizer.n_vocab} tokens, the model "
            f"{config.model.vocab_size}: they do not belong together"
        )
    return Loaded(run, config, model, tokenizer, kind, checkpoint.read_state(folder)["step"])


def open_splits(config: RunConfig, run_dir: Path) -> Prepared:
    """The id shards that a run trains on and is scored by."""
    data = config.data
    if not data.train and not data.sources:
        raise ConfigError("data.train must name a folder that `gptpy prepare` wrote")
    # A run's own data moves with it
    inside = run_dir / (OWN_DATA if data.sources else data.train)
    own = (inside / "manifest.json").is_file()
    prepared = open_prepared(inside if own or data.sources else Path(data.train))
    if data.validation_sources:
        held_out = open_prepared(run_dir / OWN_VALIDATION)
        prepared = replace(prepared, validation=held_out.train)
    return prepared


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
