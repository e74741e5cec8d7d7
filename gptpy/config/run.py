"""A whole run's configuration: the sections of `config.toml` and of `--section.key VALUE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gptpy.config import files
from gptpy.config.data import DataConfig
from gptpy.config.errors import ConfigError
from gptpy.config.lora import LoraConfig
from gptpy.config.model import GPTConfig
from gptpy.config.training import TrainConfig


@dataclass
class RunConfig:
    """Model, training and data: what a run directory's `config.toml` holds.

    With `lora` only adapters are trained.
    """

    model: GPTConfig = field(default_factory=GPTConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)
    lora: LoraConfig | None = None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> RunConfig:
        """Check nested tables; `model.preset` may name the shape that the other keys change."""
        mapping = dict(mapping)
        model = mapping.get("model")
        if isinstance(model, Mapping) and "preset" in model:
            mapping["model"] = _from_preset(dict(model))
        return files.from_mapping(cls, mapping)

    def to_toml(self) -> str:
        """The text of `config.toml`."""
        return files.write_toml(files.to_mapping(self))


def _from_preset(model: dict[str, Any]) -> dict[str, Any]:
    name = model.pop("preset")
    if not isinstance(name, str):
        raise ConfigError(f"model.preset must be a string, got {name!r}")
    return files.merged(files.to_mapping(GPTConfig.preset(name)), model)


def with_overrides(
    mapping: Mapping[str, Any], overrides: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """`mapping` with `section.key` -> command line text on top, each parsed as TOML reads it."""
    result = files.merged(mapping, {})
    over: dict[str, Any] = {}
    for key, text in overrides:
        files.set_dotted(over, key, files.parse_override(text))
    return files.merged(result, over)
