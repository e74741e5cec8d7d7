"""Which number type generation takes, and that it changes nothing where it is exact."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.run import RunConfig
from gptpy.inference import precision
from gptpy.model import GPT
from gptpy.runs.opening import Loaded

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "vocab_size": 64,
    "block_size": 32,
}


def loaded(step=10, dtype="auto", **settings) -> Loaded:
    torch.manual_seed(0)
    config = RunConfig(model=GPTConfig(**SHAPE, **settings))
    config = replace(config, train=replace(config.train, dtype=dtype))
    tokenizer: Any = None
    model = GPT(config.model).eval()
    return Loaded(Path(), config, model, tokenizer, torch.bfloat16, step)


@pytest.fixture
def half_is_native(monkeypatch):
    def choose(device, requested="auto"):
        return torch.bfloat16 if requested == "auto" else getattr(torch, requested), "native"

    monkeypatch.setattr(precision, "choose_dtype", choose)


def test_large_models_trained_in_half_precision_are_cast_once(half_is_native, monkeypatch):
    monkeypatch.setattr(precision, "LARGE", 100)
    run = loaded(position="rope")
    dtype, reason = precision.cast_for_generation(run)
    assert dtype == run.model.dtype == torch.bfloat16 and "trained in it" in reason
    assert run.model.tables["cos"].dtype == torch.float32
    ids = torch.arange(4)[None]
    seen = []
    plain = torch.nn.functional.linear
    monkeypatch.setattr(
        torch.nn.functional, "linear", lambda x, w, *a: seen.append(w.dtype) or plain(x, w, *a)
    )
    cached = run.model.generate(ids, 12, temperature=0)
    assert set(seen) == {torch.bfloat16} and not torch.is_autocast_enabled("cpu")
    assert cached.shape == (1, 16)


@pytest.mark.parametrize(
    "run", [{"step": 0}, {"dtype": "float32"}, {}], ids=["imported", "fp32", "small"]
)
def test_all_others_stay_exact(half_is_native, monkeypatch, run):
    if run:
        monkeypatch.setattr(precision, "LARGE", 100)
    opened = loaded(**run)
    ids = torch.arange(4)[None]
    before = opened.model.generate(ids, 12, temperature=0)
    dtype, reason = precision.cast_for_generation(opened)
    assert dtype == torch.float32 and reason
    assert torch.equal(opened.model.generate(ids, 12, temperature=0), before)


def test_a_type_may_be_asked_for():
    run = loaded()
    assert precision.cast_for_generation(run, "bfloat16")[0] == run.model.dtype == torch.bfloat16
    assert precision.cast_for_generation(run, "float32")[0] == run.model.dtype == torch.float32
    with pytest.raises(ConfigError, match="dtype: expected auto or float32"):
        precision.cast_for_generation(run, "int8")


def test_small_models_compute_with_one_thread(monkeypatch):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(precision, "SHARED", 0)
        assert precision.limit_threads(loaded().model) == 2
        monkeypatch.undo()
        assert precision.limit_threads(loaded().model) == 1 == torch.get_num_threads()
    finally:
        torch.set_num_threads(threads)
