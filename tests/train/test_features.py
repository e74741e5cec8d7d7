"""Options of a run: number types, averaged weights, activation checkpointing, packed documents."""

import functools
import io
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from gptpy.cli.show import Live
from gptpy.config import GPTConfig
from gptpy.config.training import OptimConfig, ScheduleConfig, TrainConfig
from gptpy.data import Dataset
from gptpy.model import GPT, flops_per_token
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics
from gptpy.runs.progress import Silent
from gptpy.train import Trainer
from gptpy.train.average import Average

IDS = np.where(np.arange(2000) % 7 == 0, 5, np.arange(2000) % 64).astype(np.uint16)


def train(
    run: Path | None = None, *, resume: bool = False, reporter: Any = None, **changes: Any
) -> tuple[GPT, Trainer]:
    """A small run; keys that the model's configuration knows go there."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_kv_head": 2}
    shape |= {"vocab_size": 64, "block_size": 16}
    for key in ("dropout", "activation_checkpointing"):
        if key in changes:
            shape[key] = changes.pop(key)
    model = GPT(GPTConfig.preset("modern-1m", **shape))
    base: dict[str, Any] = {"steps": 8, "batch_size": 8, "dtype": "float32", "log_every": 1}
    base |= {"optim": OptimConfig(name="muon", lr=1e-2), "compile": "off"}
    config = TrainConfig(**{**base, "schedule": ScheduleConfig(warmup_steps=2), **changes})
    trainer = Trainer(
        model, Dataset([IDS], 16), config, run_dir=run, resume=resume, reporter=reporter
    )
    trainer.fit()
    return model, trainer


def rows(run: Path) -> list[dict[str, Any]]:
    return list(read_metrics(run / "metrics.jsonl"))


def test_half_precision_scales_its_gradients(tmp_path: Path):
    train(tmp_path / "exact", steps=30)
    _, trainer = train(tmp_path / "half", steps=30, dtype="float16")
    exact, half = rows(tmp_path / "exact"), rows(tmp_path / "half")
    assert trainer.update.scaler is not None
    # The first scale, 65536, may be too large; such steps are skipped and halve it
    assert trainer.update.scaler.get_scale() <= 65536
    assert half[0]["loss"] == pytest.approx(exact[0]["loss"], abs=1e-2)
    assert half[-1]["loss"] < 0.7 * half[0]["loss"]
    assert half[-1]["loss"] == pytest.approx(exact[-1]["loss"], rel=0.1)


class Cut(Silent):
    """Ends a run during the report of its fifth step."""

    def on_step(self, metrics):
        if metrics["step"] == 5:
            raise InterruptedError


def test_too_large_a_scale_is_no_bad_step_and_survives_a_resume(tmp_path: Path, monkeypatch):
    large = functools.partial(torch.amp.GradScaler, init_scale=2.0**21)
    monkeypatch.setattr(torch.amp, "GradScaler", large)
    settings = {"dtype": "float16", "dropout": 0.1, "save_every": 4, "max_bad_steps": 1}
    whole, trainer = train(tmp_path / "whole", **settings)
    norms = [float(row["grad_norm"]) for row in rows(tmp_path / "whole")]
    assert not math.isfinite(norms[0]) and math.isfinite(norms[-1])
    with pytest.raises(InterruptedError):
        train(tmp_path / "cut", reporter=Cut(), **settings)
    kept = checkpoint.read_state(checkpoint.find(tmp_path / "cut"))["scaler"]
    skipped = sum(not math.isfinite(norm) for norm in norms[:4])
    assert kept["scale"] == 2.0 ** (21 - skipped) < 2.0**21
    again, resumed = train(tmp_path / "cut", resume=True, **settings)
    assert trainer.update.scaler is not None and resumed.update.scaler is not None
    assert resumed.update.scaler.state_dict() == trainer.update.scaler.state_dict()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_an_average_follows_its_formula():
    model = torch.nn.Linear(2, 1)
    average = Average(model, decay=0.5)
    expected = model.weight.detach().clone()
    for step in range(1, 6):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * float(step)
    torch.testing.assert_close(average.tensors["weight"], expected)
    with average.applied():
        torch.testing.assert_close(model.weight.detach(), expected)
    assert (model.weight == 5).all(), "the weights come back"


def test_activation_checkpointing_trains_to_the_same_weights(tmp_path: Path):
    plain, _ = train(dropout=0.1)
    saving, _ = train(dropout=0.1, activation_checkpointing=True)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(saving.state_dict()[name], tensor, atol=1e-5, rtol=0)


def test_utilisation_is_flops_over_the_measured_peak(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("gptpy.train.meter.peak_flops", lambda device, dtype: 1e9)
    model, _ = train(tmp_path)
    for row in rows(tmp_path):
        expected = row["tokens_per_second"] * flops_per_token(model, 16) / 1e9
        assert row["mfu"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_terminal_shows_a_bar_and_a_file_plain_lines(tmp_path: Path):
    shown = {}
    for terminal in (True, False):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=120, highlight=False)
        with Live(console) as live:
            train(tmp_path / str(terminal), reporter=live)
            live.on_eval({"step": 8, "val_loss": 1.25, "perplexity": 3.49, "bits_per_byte": 2.5})
        shown[terminal] = out.getvalue()
    last = rows(tmp_path / "False")[-1]
    assert f"step      8  100%  loss {last['loss']:.3f}" in shown[False]
    assert "\x1b[" not in shown[False] and "\x1b[" in shown[True]
    assert "100%" in shown[True] and f"loss {last['loss']:.3f}" in shown[True]
    for text in shown.values():
        assert "step 8: validation loss 1.2500, perplexity 3.49, 2.5000 bits/byte" in text


def test_packed_documents_are_scored_as_each_alone_would_be():
    ids = np.array([0, *range(5, 12), 0, *range(20, 23), 0, *range(30, 50)] * 20, np.uint16)
    data = Dataset([ids], 16, end_of_text=0, document_mask=True)
    batch = data.batch(np.arange(6))
    torch.manual_seed(0)
    model = GPT(GPTConfig.preset("modern-1m", n_layer=2, vocab_size=64, block_size=16))
    with torch.no_grad():
        for parameter in model.parameters():  # a zero head scores all alike
            parameter.add_(0.02 * torch.randn_like(parameter))
    _, packed = model(batch.inputs, batch.targets, reduction="sum", **batch.masks())
    _, mixed = model(batch.inputs, batch.targets, reduction="sum")
    alone, offsets = 0.0, batch.masks()["cu_seqlens"].tolist()
    assert len(offsets) > 10
    for start, end in itertools.pairwise(offsets):
        pair = (x.flatten()[None, start:end] for x in (batch.inputs, batch.targets))
        alone += float(model(*pair, reduction="sum")[1].detach())
    assert float(packed.detach()) == pytest.approx(alone, rel=1e-5)
    assert not math.isclose(float(mixed.detach()), alone, rel_tol=1e-4)


def test_a_run_over_packed_documents_learns(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a run without the compiler must not call it")

    monkeypatch.setattr("torch._dynamo.maybe_mark_dynamic", refuse)
    ids = np.array([0, *range(5, 12)] * 200, np.uint16)
    data = Dataset([ids], 16, end_of_text=0, document_mask=True)
    torch.manual_seed(0)
    model = GPT(GPTConfig.preset("modern-1m", n_layer=1, vocab_size=64, block_size=16))
    config = TrainConfig(
        steps=30,
        batch_size=8,
        compile="off",
        dtype="float32",
        optim=OptimConfig(lr=1e-2),
        schedule=ScheduleConfig(warmup_steps=2),
    )
    assert Trainer(model, data, config).fit().loss < 2.5
