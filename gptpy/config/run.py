"""A whole run's configuration: the sections of `config.toml` and of `--section.key VALUE`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic.dataclasses import dataclass

from gptpy.config import command_line, files
from gptpy.config.command_line import Key, Section, sections
from gptpy.config.data import DataConfig
from gptpy.config.errors import ConfigError
from gptpy.config.lora import LoraConfig
from gptpy.config.model import GPTConfig
from gptpy.config.presets import PRESETS
from gptpy.config.settings import CHECKED, raises_config_error
from gptpy.config.training import TrainConfig


@raises_config_error
@dataclass(config=CHECKED)
class RunConfig:
    """Model, training and data: what a run directory's `config.toml` holds.

    With `lora` only adapters are trained.
    """

    model: GPTConfig = dataclasses.field(default_factory=GPTConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    lora: LoraConfig | None = None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> RunConfig:
        """Check nested tables; `model.preset` may name the shape that the other keys change.

        Raises `ConfigError` naming every key that is unknown or holds what it must not.
        """
        tables = dict(mapping)
        model = tables.get("model")
        if isinstance(model, Mapping) and "preset" in model:
            tables["model"] = _from_preset(dict(model))
        return cls(**tables)

    @property
    def attention_features(self) -> frozenset[str]:
        """What the data ask of attention: "documents", "padding" (which a causal mask hides)."""
        padded = self.data.form != "stream" and self.model.architecture != "decoder"
        needed = {"documents": self.data.document_mask, "padding": padded}
        return frozenset(name for name, is_needed in needed.items() if is_needed)

    def to_toml(self) -> str:
        """The text of `config.toml`."""
        return files.to_toml(self)


def _from_preset(model: dict[str, Any]) -> dict[str, Any]:
    name = model.pop("preset")
    if not isinstance(name, str):
        raise ConfigError(f"model.preset: expected a string, got {name!r}")
    return files.merged(GPTConfig.preset(name).to_dict(), model)


def over_run(run: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A run's tables with the `given` ones on top.

    A preset counts with all its values but the vocabulary size, which follows the data.
    """
    model = given.get("model")
    if isinstance(model, Mapping) and "preset" in model:
        vocabulary = {"vocab_size": model["vocab_size"]} if "vocab_size" in model else {}
        shape = _from_preset(dict(model))
        shape.pop("vocab_size")
        given = {**given, "model": {**shape, **vocabulary}}
    return files.merged(run, given)


def settings() -> list[Section]:
    """Every section and key that `RunConfig.from_mapping` takes."""
    preset = Key(
        "model.preset",
        "NAME",
        None,
        "A named shape, which the model's other keys change (default: none)",
        tuple(PRESETS),
    )
    found = list(sections(RunConfig))
    return [
        Section(s.name, s.meaning, [preset, *s.keys]) if s.name == "model" else s for s in found
    ]


def with_overrides(
    mapping: Mapping[str, Any], overrides: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """`mapping` with `section.key` -> command line text on top, each typed by its setting.

    `model.preset`, which is no field, is a name.
    """
    preset = [text for key, text in overrides if key == "model.preset"]
    named = {"model": {"preset": preset[-1]}} if preset else {}
    others = [(key, text) for key, text in overrides if key != "model.preset"]
    return command_line.with_overrides(RunConfig, files.merged(mapping, named), others)


# What decides which weights there are and what they were trained on. All else is read at every
# step, so a resume goes on with it from there; the seed is part of what identifies the data.
FIXED = (
    "model",
    "data",
    "lora",
    "train.optim.name",
    "train.init",
    "train.init_changes",
    "train.remap_embeddings",
    "train.embeddings",
    "train.freeze_embeddings",
)
# Of those, what changes neither.
FREE = (
    "model.dropout",
    "model.attention_dropout",
    "model.activation_checkpointing",
)


def differences(one: Any, other: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """`(dotted name, value, other value)` of every setting that differs."""
    for field in dataclasses.fields(one):
        dotted = f"{name}.{field.name}" if name else field.name
        a, b = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(a) and dataclasses.is_dataclass(b):
            yield from differences(a, b, dotted)
        elif a != b:
            yield dotted, a, b


def check_resume(run: RunConfig, asked: RunConfig) -> None:
    """`ConfigError` naming what a resume of `run` cannot change and `asked` changes."""
    # A prepared folder is known by its ids, wherever it lies
    free = (*FREE, "data.train") if run.data.train else FREE
    fixed = [
        f"{name}: {_shown(old)} in this run, {_shown(new)} asked for"
        for name, old, new in differences(run, asked)
        if _inside(name, FIXED) and not _inside(name, free)
    ]
    if fixed:
        raise ConfigError(
            f"a resumed run cannot go on with another {'; '.join(fixed)}: leave that out, or begin "
            "another run with another -o"
        )


def _inside(name: str, sections: tuple[str, ...]) -> bool:
    return any(name == section or name.startswith(section + ".") for section in sections)


def _shown(value: Any) -> str:
    return "not set" if value is None else "set" if dataclasses.is_dataclass(value) else repr(value)
