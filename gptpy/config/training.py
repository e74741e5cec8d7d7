"""Everything a training run can be told, but for model and data: optimiser, schedule, budgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gptpy.config.checks import fraction, positive


@dataclass
class OptimConfig:
    """Which optimiser moves which parameters, and how fast.

    `muon` moves the blocks' matrices by Muon (Jordan et al. 2024) and everything else by AdamW;
    `adamw` moves all by AdamW. Peak learning rates; the schedule scales them all alike.
    """

    name: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    embedding_lr: float | None = None
    head_lr: float | None = None
    scalar_lr: float | None = None
    muon_lr: float = 0.02
    muon_momentum: float = 0.95
    muon_momentum_warmup: int = 0
    muon_weight_decay: float = 0.0
    muon_steps: int = 5
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    grad_clip: float | None = 1.0

    def __post_init__(self) -> None:
        positive(self, "lr", "embedding_lr", "head_lr", "scalar_lr", "muon_lr", "eps")
        positive(self, "muon_steps", "grad_clip")
        for name in ("beta1", "beta2", "muon_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in 0..1 (1 excluded), got {getattr(self, name)}")
        if min(self.weight_decay, self.muon_weight_decay, self.muon_momentum_warmup) < 0:
            raise ValueError(
                "weight_decay, muon_weight_decay and muon_momentum_warmup must not be negative"
            )


@dataclass
class ScheduleConfig:
    """The learning rate's course: a warm-up counted in steps, the rest in fractions of the run.

    `wsd` (warm-up, stable, decay) stays at the peak and falls linearly over the last
    `decay_fraction`; `cosine`, `linear` fall from the end of the warm-up; `constant` stays.
    All end at `floor` times the peak.
    """

    kind: Literal["wsd", "cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = 100
    decay_fraction: float = 0.5
    floor: float = 0.1

    def __post_init__(self) -> None:
        fraction(self, "decay_fraction", "floor")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, got {self.warmup_steps}")


@dataclass
class TrainConfig:
    """The run: how much, how often to look, what to keep.

    The run ends at whichever of `steps`, `tokens`, `epochs` and `seconds` is reached first, and
    the schedule follows the one that is furthest along, so that a slow machine also decays to the
    end. `batch_size` is in sequences and global: over all ranks and all accumulation steps;
    `micro_batch_size` is what one rank takes through the model at once. `eval_every` counts steps,
    `eval_epochs` passes over the data; `patience` is how many evaluations may bring nothing.
    `init` is a run directory whose weights to begin with; `embeddings` a run, a folder of
    `transformers` or a file of word vectors for the token embedding alone, which
    `freeze_embeddings` keeps as it begins.
    """

    steps: int | None = None
    tokens: int | None = None
    epochs: float | None = None
    seconds: float | None = None
    batch_size: int = 16
    micro_batch_size: int | None = None
    seed: int = 0
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    fused_kernels: Literal["off", "on"] = "off"
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    deterministic: bool = False
    log_every: int = 10
    eval_every: int | None = None
    eval_epochs: float | None = None
    eval_stride: int | None = None
    sample_every: int | None = None
    sample_prompt: str = "\n"
    sample_tokens: int = 128
    sample_temperature: float = 0.8
    sample_top_k: int | None = 50
    save_every: int | None = None
    save_seconds: float | None = None
    keep_last: int = 2
    keep_best: bool = True
    patience: int | None = None
    ema_decay: float | None = None
    init: str | None = None
    embeddings: str | None = None
    freeze_embeddings: bool = False
    max_bad_steps: int = 5
    tensorboard: bool = False
    wandb: str | None = None
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        positive(self, "steps", "tokens", "epochs", "seconds", "batch_size", "micro_batch_size")
        positive(self, "log_every", "eval_every", "eval_stride", "sample_every", "sample_tokens")
        positive(self, "save_every", "save_seconds", "keep_last", "patience", "max_bad_steps")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie between 0 and 1, got {self.ema_decay}")
        positive(self, "eval_epochs", "sample_top_k")
        if self.sample_temperature < 0:
            raise ValueError(
                f"sample_temperature must not be negative, got {self.sample_temperature}"
            )
        if self.eval_every is not None and self.eval_epochs is not None:
            raise ValueError("eval_every and eval_epochs both say how often to evaluate: give one")
        if self.patience is not None and self.eval_every is None and self.eval_epochs is None:
            raise ValueError(
                "patience (early stopping) needs eval_every or eval_epochs: how often to evaluate"
            )
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size must be a multiple of micro_batch_size, got {self.batch_size} and "
                f"{self.micro_batch_size}"
            )

    @property
    def has_end(self) -> bool:
        """Whether any budget ends the run."""
        return any(v is not None for v in (self.steps, self.tokens, self.epochs, self.seconds))
