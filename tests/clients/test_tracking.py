"""Runs followed by TensorBoard and by wandb (offline): what they kept is what the run wrote."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptpy.config import GPTConfig
from gptpy.config.training import TrainConfig
from gptpy.data import Dataset
from gptpy.evaluation.loss import evaluate
from gptpy.model import GPT
from gptpy.runs.metrics import read_metrics
from gptpy.train import Trainer

pytestmark = pytest.mark.clients

IDS = np.random.default_rng(0).integers(0, 64, 600).astype(np.uint16)


def train(run: Path, **trackers: Any) -> list[dict[str, Any]]:
    """A run of four steps; the rows of its metrics.jsonl."""
    shape = {"n_layer": 1, "n_embd": 32, "n_head": 2, "n_kv_head": 2}
    model = GPT(GPTConfig.preset("modern-1m", vocab_size=64, block_size=16, **shape))
    config = TrainConfig(steps=4, batch_size=4, log_every=1, eval_every=2, **trackers)
    score = lambda model: evaluate(model, IDS[:100])  # noqa: E731
    Trainer(model, Dataset([IDS], 16), config, run_dir=run, evaluate=score).fit()
    return list(read_metrics(run / "metrics.jsonl"))


def test_tensorboard_keeps_every_number(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import (  # pyright: ignore
        EventAccumulator,
    )

    rows = train(tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for kind, key in [("step", "loss"), ("step", "lr"), ("step", "mfu"), ("eval", "val_loss")]:
        expected = [(row["step"], row[key]) for row in rows if row["kind"] == kind]
        found = [(event.step, event.value) for event in events.Scalars(f"{kind}/{key}")]
        assert [step for step, _ in found] == [step for step, _ in expected] != []
        values = [value for _, value in expected]
        assert [value for _, value in found] == pytest.approx(values, rel=1e-5, abs=1e-6)


def test_wandb_offline_keeps_every_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logged: list[tuple[int, dict[str, float]]] = []
    started: list[dict[str, Any]] = []
    init = wandb.init

    def watched(**options: Any) -> Any:
        run = init(**options)
        log = run.log
        started.append(options)

        def keep(data: dict[str, float], step: int) -> None:
            logged.append((step, data))
            log(data, step=step)

        run.log = keep
        return run

    monkeypatch.setattr(wandb, "init", watched)
    rows = train(tmp_path, wandb="project")
    assert started[0]["project"] == "project" and wandb.run is None, "finished"
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    for _ in range(300):  # a process of wandb's own writes it
        if file.stat().st_size > 1000:
            break
        time.sleep(0.1)
    assert file.stat().st_size > 1000
    losses = [(step, data["step/loss"]) for step, data in logged if "step/loss" in data]
    expected = [(row["step"], row["loss"]) for row in rows if row["kind"] == "step"]
    assert [step for step, _ in losses] == [step for step, _ in expected]
    assert [loss for _, loss in losses] == pytest.approx([loss for _, loss in expected], abs=1e-6)
