"""Throughput and memory from 1 to 1,024 GPUs, on paper: the tables of docs/scale.md.

    python benches/scale_plan.py

Nothing here was measured on a GPU. Parameters and operations a token are counted from the presets'
real models; the rest is arithmetic over the assumptions below, each with where it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gptpy.config import GPTConfig
from gptpy.model import build_model, flops_per_token

GB = 1e9


@dataclass(frozen=True)
class Machine:
    """What a GPU and its network are taken to give."""

    peak: float = 989e12  # H100 SXM, dense bfloat16, data sheet
    share_of_peak: float = 0.40  # of matrix products; published runs: 0.30 to 0.61, see the page
    memory: float = 80e9
    inside: float = 300e9  # bytes/s between the 8 GPUs of a machine: two thirds of NVLink 4
    outside: float = 40e9  # bytes/s of each GPU's own 400 Gbit/s link, four fifths of it
    gpus: int = 8


@dataclass(frozen=True)
class Model:
    name: str
    parameters: int
    flops: int  # a token, forward and backward
    layers: int
    width: int
    vocabulary: int
    context: int


def preset(name: str, **changes: int) -> Model:
    config = GPTConfig.preset(name, **changes)
    with torch.device("meta"):
        model = build_model(config)
    return Model(
        name,
        model.num_parameters(),
        flops_per_token(model),
        config.n_layer,
        config.n_embd,
        config.vocab_size,
        config.block_size,
    )


def static_bytes(model: Model, gpus: int, sharded: bool, optimizer: int = 8) -> float:
    """Weights and gradients in fp32 and the optimiser's state: 4 + 4 + 8 (Muon's matrices: 4)."""
    return model.parameters * (8 + optimizer) / (gpus if sharded else 1)


def working_bytes(model: Model, sequences: int, checkpointing: bool) -> float:
    """Activations kept for the backward pass, the logits, and one block's gathered weights.

    A layer keeps about 34 bytes a token and column in half precision where attention keeps no
    matrix (Korthikanti et al. 2022, section 4.1); with checkpointing its fp32 input, 4 bytes, and
    one layer in full. Logits: bfloat16, their fp32 copy and its gradient, 10 bytes.
    """
    tokens = sequences * model.context
    layer = 34 * tokens * model.width
    kept = (
        4 * tokens * model.width * model.layers + layer if checkpointing else layer * model.layers
    )
    autocast = 2 * model.parameters  # bfloat16 copies of the weights, at worst all at once
    return kept + 10 * tokens * model.vocabulary + autocast


@dataclass(frozen=True)
class Way:
    """How one step is done on each GPU: `micro` sequences at a time, `times` times."""

    sharded: bool
    checkpointing: bool
    micro: int
    times: int

    def __str__(self) -> str:
        how = "fsdp" if self.sharded else "ddp"
        saving = ", checkpointing" if self.checkpointing else ""
        return f"{how}{saving}, {self.times} x {self.micro}"


def memory(model: Model, gpus: int, way: Way) -> tuple[float, float]:
    """GB held all the time, GB while working."""
    held = static_bytes(model, gpus, way.sharded)
    return held / GB, working_bytes(model, way.micro, way.checkpointing) / GB


def seconds(model: Model, gpus: int, way: Way, m: Machine) -> tuple[float, float]:
    """Computing and exchanging of one step on each GPU, side by side: the longer is the step.

    DDP exchanges gradients once a step (2 x 4 bytes a parameter). FSDP gathers weights for every
    forward and backward pass (2 x 4 bytes, each time) and scatters gradients once (4 bytes).
    """
    tokens = way.micro * way.times * model.context
    computing = tokens * model.flops / (m.peak * m.share_of_peak)
    computing *= 4 / 3 if way.checkpointing else 1  # the forward pass twice
    if gpus == 1:
        return computing, 0.0
    rate = m.inside if gpus <= m.gpus else m.outside
    each = (8 * way.times + 4 if way.sharded else 8) * model.parameters * (gpus - 1) / gpus
    return computing, each / rate


def best_way(model: Model, gpus: int, sequences: int, m: Machine) -> Way | None:
    """The fastest way to take `sequences` a GPU through one step that fits, or None."""
    fits = [
        way
        for sharded in (False, True)[: 2 if gpus > 1 else 1]
        for checkpointing in (False, True)
        for micro in (32, 16, 8, 4, 2, 1)
        if sequences % micro == 0
        for way in (Way(sharded, checkpointing, micro, sequences // micro),)
        if sum(memory(model, gpus, way)) < 0.9 * m.memory / GB
    ]
    return min(fits, key=lambda way: max(seconds(model, gpus, way, m)), default=None)


def row(model: Model, gpus: int, batch: int, m: Machine) -> str:
    """A line of the table: `batch` tokens a step over all GPUs."""
    sequences = batch // (gpus * model.context)
    start = f"| {model.name} | {gpus:,} |"
    if not sequences:
        return f"{start} less than one sequence a GPU | | | | |"
    way = best_way(model, gpus, sequences, m)
    if way is None:
        return f"{start} does not fit | | | | |"
    held, working = memory(model, gpus, way)
    computing, exchanging = seconds(model, gpus, way, m)
    rate = gpus * sequences * model.context / max(computing, exchanging)
    hours = 20 * model.parameters / rate / 3600
    how = str(way) if gpus > 1 else str(way).replace("ddp", "alone")
    return (
        f"{start} {how} | {held:.1f} + {working:.1f} | {computing * 1e3:,.0f} and "
        f"{exchanging * 1e3:,.0f} | {rate:,.0f} | {hours:,.1f} |"
    )


def main() -> None:
    print("| model, tokens a step | GPUs | how | GB held + working | ", end="")
    print("ms computing and exchanging | tokens/s | hours for 20 tokens a parameter |")
    print("|" + "---|" * 7)
    for name, batch in (("gpt2", 1 << 19), ("gpt2-xl", 1 << 20), ("gpt3-6.7b", 1 << 21)):
        model = preset(name)
        for gpus in (1, 8, 64, 256, 1024):
            print(row(model, gpus, batch, Machine()))


if __name__ == "__main__":
    main()
