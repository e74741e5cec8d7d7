"""A run directory opened for use: its model, tokenizer and configuration."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig
from gptpy.devices.selection import choose_device, choose_dtype
from gptpy.model import build_model
from gptpy.model.lora import add_adapters, merge_adapters
from gptpy.runs import checkpoint
from gptpy.runs.restoring import restore
from gptpy.runs.selection import Step, choose
from gptpy.tokenizer import Tokenizer, end_of_text, open_tokenizer, published
from gptpy.tokenizer.reserved import reserve


@dataclass(frozen=True)
class Loaded:
    """A trained model with its tokenizer, ready to use."""

    folder: Path
    config: RunConfig
    model: Any
    tokenizer: Tokenizer
    dtype: torch.dtype
    step: int
    reason: str = "the last"
    """Why the checkpoint of this step was taken."""

    @property
    def end_of_text(self) -> int | None:
        """The id that ends a text: the tokenizer's, or one that the run has added behind it."""
        data = self.config.data
        if data.form == "stream":
            return end_of_text(self.tokenizer)
        return reserve(self.tokenizer, self.config.model.architecture, data.form).end

    @functools.cached_property
    def ends(self) -> tuple[int, ...]:
        """The ids that end generation: those of the published model, if the run is an import."""
        end = self.end_of_text
        return published.end_ids(self.folder / published.FOLDER) or (() if end is None else (end,))

    @functools.cached_property
    def beginning(self) -> tuple[int, ...]:
        """The ids before every text, which the tokenizer of an imported model gives."""
        if self.config.data.form != "stream":
            return ()
        return published.begin_ids(self.folder / published.FOLDER)


def load(
    path: str | Path,
    *,
    step: Step = None,
    device: str = "auto",
    dtype: str = "auto",
    merge: bool = True,
) -> Loaded:
    """Load a run directory, or one of its checkpoints, for evaluation and generation.

    The weights are the averaged ones where the run kept them. `step` chooses a checkpoint: its
    number, "best" or "last" (default: the last, or the best of a run that stopped early). Adapters
    become part of the weights unless `merge` is False. Raises `CheckpointError` or `ConfigError`.
    """
    chosen = choose(path, step)
    folder = chosen.folder
    config = checkpoint.read_config(folder)
    run = checkpoint.run_of(folder)
    where = choose_device(device)
    kind, _ = choose_dtype(where, dtype)
    model = build_model(config.model)
    if config.lora is not None:
        add_adapters(model, config.lora)
    restore(folder, model, averaged=True)
    if config.lora is not None and merge:
        merge_adapters(model)
    model.to(where).eval()
    model.select_attention(dtype=kind)
    tokenizer = open_tokenizer(run)
    if tokenizer.n_vocab > config.model.vocab_size:
        raise ConfigError(
            f"{run}: the tokenizer has {tokenizer.n_vocab} tokens, the model "
            f"{config.model.vocab_size}: they do not belong together"
        )
    return Loaded(run, config, model, tokenizer, kind, chosen.step, chosen.reason)
