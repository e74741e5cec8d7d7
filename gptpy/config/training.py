"""Settings of a training run: optimiser, schedule, budgets, what to report and to keep."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gptpy.config.settings import (
    CHECKED,
    OR_NONE,
    EscapedText,
    Fraction,
    FractionBelowOne,
    NonNegativeInteger,
    NonNegativeNumber,
    PositiveInteger,
    PositiveNumber,
    Seed,
    Switch,
    Text,
    raises_config_error,
)


@raises_config_error
@dataclass(config=CHECKED)
class OptimConfig:
    """Which optimiser updates which parameters, at which peak rates.

    Muon: Jordan et al. 2024; AdamW: Loshchilov and Hutter 2019.
    """

    name: Literal["adamw", "muon"] = "adamw"
    """Muon updates the blocks' matrices only."""
    lr: PositiveNumber = 1e-3
    """Learning rate of AdamW."""
    embedding_lr: PositiveNumber | None = None
    """Learning rate of the embeddings (default: `lr`)."""
    head_lr: PositiveNumber | None = None
    """Learning rate of an untied output layer (default: `lr`)."""
    scalar_lr: PositiveNumber | None = None
    """Learning rate of vectors, such as biases and norms (default: `lr`)."""
    muon_lr: PositiveNumber = 0.02
    """Learning rate of Muon."""
    muon_momentum: FractionBelowOne = 0.95
    """Momentum of Muon."""
    muon_momentum_warmup: NonNegativeInteger = 0
    """Steps over which Muon's momentum rises from 0.85 to its value."""
    muon_weight_decay: NonNegativeNumber = 0.0
    """Decoupled weight decay of matrices under Muon."""
    muon_steps: PositiveInteger = 5
    """Newton-Schulz iterations of Muon."""
    beta1: FractionBelowOne = 0.9
    """AdamW's decay of the mean gradient."""
    beta2: FractionBelowOne = 0.95
    """AdamW's decay of the mean squared gradient."""
    eps: PositiveNumber = 1e-8
    """Added to AdamW's denominator."""
    weight_decay: NonNegativeNumber = 0.1
    """Decoupled weight decay of matrices under AdamW."""
    grad_clip: Annotated[PositiveNumber | None, OR_NONE] = 1.0
    """Largest norm of the whole gradient, or none; longer ones are scaled down."""


@raises_config_error
@dataclass(config=CHECKED)
class ScheduleConfig:
    """How the learning rate goes up and down, as a factor of its peak.

    A warm-up, counted in steps, rises to the peak; what follows spans the rest of the run. `cosine`
    and `linear` decay over all of it; `wsd` (warm-up, stable, decay) falls linearly over the last
    `decay_fraction` of the run; all three end at `floor`. `constant` stays at the peak.
    """

    kind: Literal["wsd", "cosine", "linear", "constant"] = "cosine"
    """Shape of the decay."""
    warmup_steps: NonNegativeInteger = 100
    """Steps over which the rate rises linearly."""
    decay_fraction: Fraction = 0.5
    """Part of the run, at its end, over which `wsd` decays."""
    floor: Fraction = 0.1
    """Factor at the end of the decay."""
    on_resume: Literal["follow", "decay"] = "follow"
    """Resumed with another budget: follow its schedule, or decay from the rate reached."""


@raises_config_error
@dataclass(config=CHECKED)
class TrainConfig:
    """The run: how long, how often to evaluate, what to keep.

    The run ends at whichever of `steps`, `tokens`, `epochs` and `seconds` is reached first, and the
    schedule follows the one that is furthest along, so that a slow machine also decays to the end.
    """

    steps: PositiveInteger | None = None
    """Most steps (default: no limit)."""
    tokens: PositiveInteger | None = None
    """Most training tokens (default: no limit)."""
    epochs: PositiveNumber | None = None
    """Most passes over the data (default: no limit)."""
    seconds: PositiveNumber | None = None
    """Most seconds (default: no limit)."""
    batch_size: PositiveInteger = 16
    """Sequences a step, over all ranks and accumulation steps."""
    micro_batch_size: PositiveInteger | None = None
    """Sequences that one rank takes through the model at once (default: its share)."""
    seed: Seed = 0
    """Seed of weights, dropout, data order and choice of what validates."""
    device: Text = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of matrix products."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Run the model through torch.compile."""
    attention: Literal["auto", "reference", "dense", "sdpa", "triton"] = "auto"
    """What computes attention; "auto" takes the best that is known to work here."""
    fused_kernels: Literal["off", "on"] = "off"
    """Triton kernels for norms, activations and the loss."""
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several processes share the work."""
    deterministic: Switch = False
    """Only algorithms that give the same bits every time."""
    log_every: PositiveInteger = 10
    """Steps between lines of metrics.jsonl."""
    eval_every: PositiveInteger | None = None
    """Steps between evaluations (default: a twentieth of the run)."""
    eval_epochs: PositiveNumber | None = None
    """Passes over the data between evaluations (default: as `eval_every`)."""
    eval_stride: PositiveInteger | None = None
    """Tokens by which evaluation windows move (default: `block_size`)."""
    eval_tokens: PositiveInteger | None = None
    """Score only about this many tokens, the first ones (default: all that are held out)."""
    sample_every: PositiveInteger | None = None
    """Steps between generated samples (default: none)."""
    sample_prompt: EscapedText = "\n"
    """What samples begin with."""
    sample_tokens: PositiveInteger = 128
    """Length of a sample, in tokens."""
    sample_temperature: NonNegativeNumber = 0.8
    """Temperature of samples; 0 is greedy."""
    sample_top_k: Annotated[PositiveInteger | None, OR_NONE] = 50
    """Samples choose among the k likeliest tokens, or none: among all."""
    save_every: PositiveInteger | None = None
    """Steps between checkpoints (default: as `save_seconds`)."""
    save_seconds: Annotated[PositiveNumber | None, OR_NONE] = 600.0
    """Most seconds between checkpoints, or none."""
    keep_last: PositiveInteger = 2
    """Newest checkpoints that stay."""
    keep_best: Switch = True
    """Save at every evaluation with the lowest loss so far; the last of these stays, too."""
    patience: PositiveInteger | None = None
    """Evaluations without a lower loss that end the run (default: none do)."""
    ema_decay: Annotated[float, Field(strict=True, gt=0, lt=1)] | None = None
    """Decay of an average of the weights, kept beside them (default: none is kept)."""
    init: Text | None = None
    """Run directory whose weights to begin with (default: random weights)."""
    init_changes: list[Text] = field(default_factory=list)
    """Keys of [model] that may differ from the run of `init`, as rope_theta."""
    remap_embeddings: Switch = False
    """`init` from a run with another tokenizer: take embeddings by the tokens' text."""
    embeddings: Text | None = None
    """A run, a model's folder or word vectors to begin with (default: random)."""
    freeze_embeddings: Switch = False
    """Keep the token embedding as it begins."""
    max_bad_steps: PositiveInteger = 5
    """Steps in a row with infinite or NaN gradients that end the run."""
    tensorboard: Switch = False
    """Also write metrics for TensorBoard."""
    wandb: Text | None = None
    """Project on Weights & Biases to log to (default: none)."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        if self.eval_every is not None and self.eval_epochs is not None:
            raise ValueError("eval_every and eval_epochs both say how often to evaluate: give one")
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size must be a multiple of micro_batch_size, got {self.batch_size} and "
                f"{self.micro_batch_size}"
            )

    @property
    def has_end(self) -> bool:
        """Whether any budget ends the run."""
        return any(v is not None for v in (self.steps, self.tokens, self.epochs, self.seconds))
