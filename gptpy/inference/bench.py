"""How fast a model generates: prompts and new tokens a second, the time to the first token."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.weights import HalfLinear, PackedLinear


@dataclass(frozen=True)
class Speed:
    """One batch size; the median of several runs."""

    batch: int
    prefill: float
    """Prompt tokens a second, until every text has its first new token."""
    decode: float
    """New tokens a second of all texts together, after that."""
    first_token: float
    """Seconds from the request to the first token, the median of the batch."""
    last_first_token: float
    """The same for the text that waited longest."""


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    weights: int
    cache_per_token: int
    peak: int
    """Of the process, on a GPU what torch has allocated there."""


def measure(
    engine: Engine, batch: int, prompt_tokens: int, new_tokens: int, *, repeats: int = 3
) -> Speed:
    """Let `batch` random prompts grow by `new_tokens` (at least 2); `ConfigError` without room."""
    c = engine.config
    if not 2 <= new_tokens < c.block_size or prompt_tokens + new_tokens > c.block_size:
        raise ConfigError(
            f"a prompt of {prompt_tokens} and {new_tokens} new tokens: expected at least 2 new "
            f"ones, and at most {c.block_size} together (block_size)"
        )
    if batch > engine.scheduler.max_running:
        raise ConfigError(f"batch: expected at most {engine.scheduler.max_running}, got {batch}")
    generator = torch.Generator().manual_seed(batch)
    runs = [_once(engine, batch, prompt_tokens, new_tokens, generator) for _ in range(repeats)]
    columns = zip(*runs, strict=True)
    return Speed(batch, *(statistics.median(column) for column in columns))


def _once(
    engine: Engine, batch: int, prompt_tokens: int, new_tokens: int, generator: torch.Generator
) -> tuple[float, float, float, float]:
    c = engine.config
    engine.runner.pool.clear()  # a prompt of an earlier run would not be computed again
    shape = (batch, prompt_tokens)
    prompts: Any = torch.randint(c.vocab_size, shape, generator=generator).tolist()
    source = prompts[0] if c.architecture == "encoder-decoder" else None
    handles = [
        engine.submit(Request(prompt, max_tokens=new_tokens, seed=number, source=source))
        for number, prompt in enumerate(prompts)
    ]
    start = time.monotonic()
    while any(handle.first_token_at is None for handle in handles):
        engine.step()
    _wait(engine)
    middle, before = time.monotonic(), engine.statistics.new_tokens
    while engine.busy:
        engine.step()
    _wait(engine)
    end, after = time.monotonic(), engine.statistics.new_tokens
    for handle in handles:
        if handle.outputs[0].error is not None:
            raise ConfigError(handle.outputs[0].error)
    waits = [(handle.first_token_at or middle) - start for handle in handles]
    decode = (after - before) / (end - middle) if after > before else 0.0
    prefill = batch * prompt_tokens / (middle - start)
    return prefill, decode, statistics.median(waits), max(waits)


def _wait(engine: Engine) -> None:
    if engine.runner.device.type == "cuda":
        torch.cuda.synchronize(engine.runner.device)


def memory(engine: Engine) -> Memory:
    """What the engine's model takes, and the process at its peak so far."""
    tensors: dict[int, torch.Tensor] = {}
    weights = 0
    for part in filter(None, (engine.runner.network, engine.runner.head)):
        packed = [m.packed for m in part.modules() if isinstance(m, PackedLinear)]
        halves = [m for m in part.modules() if isinstance(m, HalfLinear)]  # not as tensors
        weights += sum(2 * m.out_features * m.in_features for m in halves)
        tensors |= {id(t): t for t in (*part.parameters(), *part.buffers(), *packed)}
    weights += sum(t.numel() * t.element_size() for t in tensors.values())
    device = engine.runner.device
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Memory(weights, engine.runner.token_bytes, peak)
