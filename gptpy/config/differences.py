"""How two configurations of a run differ, and which of their settings a resume may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig

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
