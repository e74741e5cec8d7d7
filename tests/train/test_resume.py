"""Going on with a run under other settings: where it ends, what is refused, what is told."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.config.training import OptimConfig, ScheduleConfig, TrainConfig
from gptpy.data import Dataset
from gptpy.data.errors import DataError
from gptpy.evaluation.loss import Evaluation
from gptpy.model import GPT
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics
from gptpy.runs.progress import Silent
from gptpy.train import Trainer

MODEL = GPTConfig.preset(
    "modern-1m", n_layer=1, n_embd=16, n_head=2, n_kv_head=2, vocab_size=64, block_size=16
)
DATA = np.arange(2000).astype(np.uint16) % 64


class Heard(Silent):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text):
        self.messages.append(text)


def trainer(run: Path, heard: Any = None, *, resume: Any = False, evaluate=None, **changes: Any):
    torch.manual_seed(0)
    base: dict[str, Any] = {"batch_size": 8, "dtype": "float32", "compile": "off", "log_every": 1}
    base["schedule"] = ScheduleConfig(kind="cosine", warmup_steps=2)
    config = TrainConfig(**{**base, **changes})
    data = Dataset([DATA], 16)
    return Trainer(
        GPT(MODEL), data, config, run_dir=run, reporter=heard, resume=resume, evaluate=evaluate
    )


def test_epochs_end_at_their_sample_whatever_the_batch(tmp_path: Path):
    n = trainer(tmp_path / "a", epochs=1).data.n_windows
    first = trainer(tmp_path / "a", epochs=0.5)
    first.fit()
    assert first.state.samples - 8 < n / 2 <= first.state.samples
    for number, (batch, epochs) in enumerate([(16, 1), (4, 1.5), (8, 2)]):
        again = trainer(tmp_path / "a", epochs=epochs, batch_size=batch, resume=True)
        again.fit()
        assert again.state.samples - batch < epochs * n <= again.state.samples, number


def test_tokens_end_at_their_token_whatever_the_batch(tmp_path: Path):
    first = trainer(tmp_path, tokens=1000)
    first.fit()
    assert first.state.tokens == 1024
    again = trainer(tmp_path, tokens=3000, batch_size=2, resume=True)
    again.fit()
    assert again.state.tokens == 3008  # in batches of 32
    assert trainer(tmp_path, tokens=3000, batch_size=16, resume=True).fit().tokens == 3008


def test_steps_are_steps(tmp_path: Path):
    trainer(tmp_path, steps=3).fit()
    again = trainer(tmp_path, steps=5, batch_size=2, resume=True)
    again.fit()
    assert (again.state.step, again.state.samples) == (5, 3 * 8 + 2 * 2)


def test_progress_of_unchanged_settings_is_steps_over_all_steps(tmp_path: Path):
    """As older versions counted it, to the last bit: a schedule goes on as it was."""
    run = trainer(tmp_path, epochs=0.3)
    total, seen = -(-0.3 * run.data.n_windows // 8), []
    run.reporter = type("Steps", (Silent,), {"on_step": lambda _, row: seen.append(row)})()
    run.fit()
    assert [row["progress"] for row in seen] == [(k + 1) / total for k in range(int(total))]


def test_another_optimiser_is_refused_before_anything_changes(tmp_path: Path):
    pairs: Any = (("muon", "adamw"), ("adamw", "muon"))
    for name, other in pairs:
        trainer(tmp_path / name, steps=2, optim=OptimConfig(name=name)).fit()
        files = {p: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        with pytest.raises(checkpoint.CheckpointError, match="state of another optimiser"):
            trainer(tmp_path / name, steps=4, optim=OptimConfig(name=other), resume=True)
        assert files == {p: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}


def test_data_are_known_by_their_fingerprint(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Dataset, "fingerprint", "1-aa", raising=False)
    trainer(tmp_path, steps=1).fit()
    assert checkpoint.read_state(checkpoint.find(tmp_path))["data"]["fingerprint"] == "1-aa"
    monkeypatch.setattr(Dataset, "fingerprint", "1-bb")
    with pytest.raises(DataError, match=r"other data: it had .*1-aa.*, this run has .*1-bb"):
        trainer(tmp_path, steps=2, resume=True)


def rates(run: Path) -> list[float]:
    return [row["lr_factor"] for row in read_metrics(run / "metrics.jsonl") if "lr_factor" in row]


def test_a_longer_budget_tells_how_the_rate_jumps(tmp_path: Path):
    heard = Heard()
    trainer(tmp_path, steps=20).fit()
    trainer(tmp_path, heard, steps=40, resume=True).fit()
    assert any("the learning rate goes from 0.000107 to 0.00058" in m for m in heard.messages)
    assert "on_resume decay" in " ".join(heard.messages)
    assert rates(tmp_path)[20] > 5 * rates(tmp_path)[19]
    quiet = Heard()
    trainer(tmp_path, quiet, steps=40, resume=True)
    assert not any("learning rate" in m for m in quiet.messages), "nothing else than before"


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd", "constant"])
def test_a_longer_budget_can_decay_anew_from_the_rate_reached(tmp_path: Path, kind: str):
    schedule = {"kind": kind, "warmup_steps": 2, "floor": 0.0}
    trainer(tmp_path, steps=10, schedule=ScheduleConfig(**schedule)).fit()
    smooth = {"schedule": ScheduleConfig(**schedule, on_resume="decay"), "steps": 30}
    cut = trainer(tmp_path, **smooth, resume=True)
    cut.config = TrainConfig(**{**vars(cut.config), "steps": 30})
    cut.reporter = type("Cut", (Silent,), {"on_step": lambda _, row: stop(row, 20)})()
    with pytest.raises(Stop):
        cut.fit()
    cut.checkpoints.save(cut.state)
    trainer(tmp_path, **smooth, resume=True).fit()
    found = rates(tmp_path)
    assert len(found) == 30 and found[10] == pytest.approx(found[9], abs=0.02)
    later = found[9:]
    assert all(b <= a + 1e-9 for a, b in pairwise(later))
    if kind != "constant":
        assert found[-1] < found[10] / 2


class Stop(Exception):
    pass


def stop(row, step):
    if row["step"] == step:
        raise Stop


def scripted(losses):
    remaining = iter(losses)
    return lambda model: Evaluation(next(remaining), 1.0, None, 1, None, 16, 16, 0.0)


def test_a_run_that_stopped_early_has_nothing_to_do_until_patience_is_raised(tmp_path: Path):
    early: dict[str, Any] = {"steps": 30, "eval_every": 2, "patience": 2}
    first = trainer(tmp_path, evaluate=scripted([3, 2, 2.5, 2.6]), **early).fit()
    assert (first.stopped, first.step, first.model_step) == ("early", 8, 4)
    heard, before = Heard(), checkpoint.steps(tmp_path)
    again = trainer(tmp_path, heard, evaluate=scripted([]), resume=True, **early).fit()
    assert (again.stopped, again.step, again.model_step) == ("early", 8, 4)
    assert checkpoint.steps(tmp_path) == before
    assert "stopped early at step 8" in heard.messages[-1] and "patience" in heard.messages[-1]
    more = trainer(
        tmp_path, evaluate=scripted([1.9] + [3] * 9), resume=True, **{**early, "patience": 3}
    ).fit()
    assert (more.stopped, more.step, more.model_step) == ("early", 16, 10)


def test_the_model_has_the_weights_that_are_loaded(tmp_path: Path):
    """The best after early stopping, the average where one is kept."""
    early = trainer(
        tmp_path / "a", evaluate=scripted([3, 2, 4, 4]), steps=30, eval_every=2, patience=2
    )
    early.fit()
    averaged = trainer(tmp_path / "b", steps=5, ema_decay=0.9)
    averaged.fit()
    for run, name, one in ((tmp_path / "a", "model", early), (tmp_path / "b", "ema", averaged)):
        step = 4 if name == "model" else 5
        saved = checkpoint.read_tensors(checkpoint.find(run, step), name)
        own = one.model.state_dict()
        assert all(torch.equal(own[key], tensor) for key, tensor in saved.items())


def test_checkpoints_of_older_versions_keep_their_schedule(tmp_path: Path):
    """Their decay spans the warm-up, too: saved without a word of it."""
    whole = trainer(tmp_path / "new", steps=8, save_every=4)
    whole.fit()
    state = tmp_path / "new/checkpoints/step-4/state.json"
    assert '"decays_after_warmup": true' in state.read_text()
    state.write_text(state.read_text().replace('"decays_after_warmup": true,', ""))
    (tmp_path / "new/checkpoints/step-8/state.json").unlink()
    trainer(tmp_path / "new", steps=8, resume=True).fit()
    found = rates(tmp_path / "new")
    assert found[4] == pytest.approx(0.1 + 0.9 * 0.5)  # half-way of all 8 steps
    assert found[3] == pytest.approx(0.1 + 0.9 * 0.933013, abs=1e-5)  # a sixth of the 6 after 2
