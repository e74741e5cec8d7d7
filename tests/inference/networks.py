"""Small networks and helpers that several tests of this folder share."""

from typing import Any

import torch

from gptpy.config import GPTConfig
from gptpy.inference.engine import Engine
from gptpy.model import build_model

V, BLOCK = 61, 64


def network(seed=1, **overrides) -> Any:
    """A network whose next tokens are neither certain nor uniform."""
    torch.manual_seed(seed)
    shape = {"vocab_size": V, "block_size": BLOCK, "n_layer": 2, "n_head": 4, "n_embd": 32}
    model = build_model(GPTConfig(**{**shape, **overrides})).eval()  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    return model


def ids_of(handle):
    return [output.ids for output in handle.outputs]


def run(engine: Engine, *requests):
    """The ids of all texts of all requests, and a look whether every block came back."""
    handles = engine.generate(requests)
    check_idle(engine)
    return [ids_of(handle) for handle in handles]


def check_idle(engine: Engine):
    """Nothing of any request is left, but the contents of blocks."""
    pool, scheduler = engine.runner.pool, engine.scheduler
    assert pool.held == 0 and pool.available == pool.capacity
    kept = (engine._handles, engine._inbox, scheduler.waiting, scheduler.running)
    assert not any(kept) and not scheduler._computing and not pool._tainted


class Bytes:
    """A tokenizer of single bytes; ids from 256 on are special or nothing."""

    n_vocab = 256
    special_tokens_set = frozenset()

    def encode_ordinary(self, text):
        return list(text.encode())

    def decode_bytes(self, tokens):
        if any(t >= 256 for t in tokens):
            raise KeyError("Invalid token for decoding")
        return bytes(tokens)
