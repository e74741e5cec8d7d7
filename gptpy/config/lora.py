"""Low-rank adapters beside frozen weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gptpy.config.checks import positive

LAYERS = ("qkv", "out", "up", "down", "q", "kv")


@dataclass
class LoraConfig:
    """LoRA (Hu et al. 2021): `W x + alpha / rank * B A x`, where only A and B are trained.

    `targets` are the linear layers of every block that get adapters: `qkv` and `out` of the
    attention (`q`, `kv` of one to an encoder), `up` and `down` of the MLP. With `embeddings` the
    tables of tokens (embedding and head) are trained too: a token that the base never saw, such as
    an end of text that its tokenizer lacks, is learned there or nowhere.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    embeddings: bool = False
    targets: list[str] = dataclasses.field(default_factory=lambda: ["qkv", "out", "up", "down"])

    def __post_init__(self) -> None:
        positive(self, "rank", "alpha")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in 0..1 (1 excluded), got {self.dropout}")
        for name in self.targets:
            if name not in LAYERS:
                raise ValueError(f"targets are of {', '.join(LAYERS)}, got {name!r}")
        if not self.targets:
            raise ValueError("targets must name at least one layer")
