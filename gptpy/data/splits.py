"""The two splits of a run's id shards, opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig
from gptpy.data.dataset import Dataset
from gptpy.data.prepared import Prepared, open_prepared

OWN_DATA, OWN_VALIDATION = "data", "validation"  # folders in a run directory, made from its sources


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
