"""A run directory opened for use: the checkpoint that is taken, model, tokenizer, configuration."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.config.files import read_toml
from gptpy.config.run import RunConfig
from gptpy.devices.selection import choose_device, choose_dtype
from gptpy.model import build_model
from gptpy.model.lora import add_adapters, merge_adapters
from gptpy.runs import checkpoint
from gptpy.runs.checkpoint import CheckpointError, restore
from gptpy.tokenizer import Tokenizer, end_of_text, open_tokenizer, published
from gptpy.tokenizer.opening import reserve

Step = int | str | None
"""A checkpoint's step, "best", "last", or None: the rule of `choose`."""


@dataclass(frozen=True)
class Chosen:
    """A checkpoint folder, its step, and the reason for taking it."""

    folder: Path
    step: int
    reason: str


def choose(path: str | Path, step: Step = None) -> Chosen:
    """The checkpoint of a run directory that is used for everything but going on with it.

    By default the last one, or, where the run stopped early because its validation loss no longer
    fell, the one with the lowest loss. A checkpoint folder is itself. Raises `CheckpointError`
    naming what there is.
    """
    path = Path(path)
    if (path / "state.json").is_file():
        return Chosen(path, checkpoint.read_state(path)["step"], "as given")
    if isinstance(step, str) and step.isdecimal():
        step = int(step)
    if isinstance(step, int):
        return Chosen(checkpoint.find(path, step), step, "as given")
    if step not in (None, "best", "last"):
        raise CheckpointError(f"step: expected a number, best or last, got {step!r}")
    folder = checkpoint.find(path)
    state = checkpoint.read_state(folder)
    last, best = state["step"], state.get("best_step")
    early = step is None and stopped_early(path, state)
    if step == "best" or early:
        found = f"the best: validation loss {state['best_loss']:.4f}" if best is not None else ""
        found += f"; stopped early at {last}" if early else ""
        if best in checkpoint.steps(path):
            return Chosen(checkpoint.find(path, best), best, found)
        if step == "best":
            missing = "nothing was evaluated" if best is None else f"step {best} was, and is gone"
            raise CheckpointError(
                f"{path}: no best checkpoint ({missing}); there are {checkpoint.steps(path)}"
            )
    return Chosen(folder, last, "the last")


def stopped_early(run_dir: Path, state: dict[str, Any]) -> bool:
    """Whether the run ended at the last checkpoint, of this `state`, by its `train.patience`."""
    try:
        patience = read_toml(run_dir / "config.toml").get("train", {}).get("patience")
    except ConfigError:
        return False
    return patience is not None and state.get("evals_without_gain", 0) >= patience


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
