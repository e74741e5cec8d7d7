"""Low-rank adapters beside frozen weights."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gptpy.config.settings import (
    CHECKED,
    FractionBelowOne,
    PositiveInteger,
    PositiveNumber,
    Switch,
    raises_config_error,
)

Layer = Literal["qkv", "out", "up", "down", "q", "kv"]


@raises_config_error
@dataclass(config=CHECKED)
class LoraConfig:
    """LoRA (Hu et al. 2021): `W x + alpha / rank * B A x`, where only A and B are trained.

    Layers of attention: `qkv` and `out`; `q` and `kv` where a decoder attends to an encoder; of the
    MLP: `up` and `down`. A token that the base model never saw, such as an end-of-text that its
    tokenizer lacks, can be learned only with `embeddings`.
    """

    rank: PositiveInteger = 8
    """Rows of A, columns of B."""
    alpha: PositiveNumber = 16.0
    """Scale of the adapters, divided by `rank`."""
    dropout: FractionBelowOne = 0.0
    """On the adapters' inputs."""
    embeddings: Switch = False
    """Also train the token embedding and the output layer, as a whole."""
    targets: Annotated[list[Layer], Field(min_length=1)] = field(
        default_factory=lambda: ["qkv", "out", "up", "down"]
    )
    """Linear layers that get adapters: qkv, out, up, down, q, kv."""
