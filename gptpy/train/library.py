"""What makes the run directory of a `Trainer` complete that no command has begun."""

from __future__ import annotations

from pathlib import Path

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.config.run import RunConfig
from gptpy.config.training import TrainConfig
from gptpy.runs import checkpoint
from gptpy.storage import atomic
from gptpy.tokenizer import FILE_NAME, NumberTokenizer, Tokenizer, save_tokenizer


def describe_run(
    run_dir: Path, model: GPTConfig, train: TrainConfig, tokenizer: Tokenizer | None
) -> None:
    """Write `config.toml` and the tokenizer into `run_dir`.

    A configuration of the same model stays: that of a command says more. Raises `ConfigError` for a
    tokenizer with more tokens than the model has.
    """
    if tokenizer is not None and tokenizer.n_vocab > model.vocab_size:
        raise ConfigError(
            f"tokenizer: expected at most {model.vocab_size} tokens (model.vocab_size), got "
            f"{tokenizer.n_vocab}"
        )
    run_dir.mkdir(parents=True, exist_ok=True)
    if tokenizer is not None or not (run_dir / FILE_NAME).is_file():
        save_tokenizer(tokenizer or NumberTokenizer(model.vocab_size), run_dir)
    there = (run_dir / "config.toml").is_file()
    if not (there and checkpoint.read_config(run_dir).model == model):
        atomic.write_text(run_dir / "config.toml", RunConfig(model=model, train=train).to_toml())
