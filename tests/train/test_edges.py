"""Batches, gradients, rates, signals and disks at their edges."""

import math
import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.training import ScheduleConfig, TrainConfig
from gptpy.data import Dataset
from gptpy.data.dataset import IGNORE
from gptpy.evaluation.loss import Evaluation, evaluate
from gptpy.model import GPT
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics
from gptpy.runs.progress import Silent
from gptpy.storage import atomic
from gptpy.train import Trainer, TrainingError
from gptpy.train.interrupt import GRACE_SECONDS, Interrupt
from gptpy.train.run import run_training
from gptpy.train.schedules import multiplier, warmup_note

MODEL = GPTConfig.preset(
    "modern-1m", n_layer=1, n_embd=16, n_head=2, n_kv_head=2, vocab_size=64, block_size=16
)


class Heard(Silent):
    """Keeps what a run says; `act` is called on each step."""

    def __init__(self, act=lambda metrics: None) -> None:
        self.messages: list[str] = []
        self.steps: list[dict[str, Any]] = []
        self.act = act

    def on_message(self, text):
        self.messages.append(text)

    def on_step(self, metrics):
        self.steps.append(dict(metrics))
        self.act(metrics)

    def said(self, *parts: str) -> bool:
        return any(all(part in text for part in parts) for text in self.messages)


def trainer(run: Path | None, heard: Any = None, *, resume: Any = False, **changes: Any):
    torch.manual_seed(0)
    given: Any = {
        key: changes.pop(key) for key in ("evaluate", "sample", "interrupt") if key in changes
    }
    base: dict[str, Any] = {
        "batch_size": 2,
        "dtype": "float32",
        "compile": "off",
        "log_every": 1,
        "steps": 6,
    }
    base["schedule"] = ScheduleConfig(warmup_steps=0)
    data = Dataset([np.arange(600).astype(np.uint16) % 64], 16)
    config = TrainConfig(**{**base, **changes})
    return Trainer(GPT(MODEL), data, config, run_dir=run, reporter=heard, resume=resume, **given)


def steps_of(run: Path) -> list[int]:
    return [row["step"] for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "step"]


# ---- what is scored


def unscored(run: Trainer, empty) -> None:
    """Make the batches of the steps for which `empty` holds score nothing."""
    whole = run.data.batch

    def batch(samples, **options):
        found = whole(samples, **options)
        if empty(options["length_key"]):
            found.targets.fill_(IGNORE)
        return found

    run.data.batch = batch  # type: ignore[method-assign]


def test_a_batch_in_which_nothing_is_scored_is_skipped_and_counted(tmp_path):
    heard = Heard()
    run = trainer(tmp_path, heard)
    unscored(run, lambda step: step in (1, 2, 5))
    result = run.fit()
    assert result.step == 6 and math.isfinite(result.loss) and run.state.unscored == 3
    assert run.state.bad_steps == 0
    assert heard.said("step 2: no token of the batch is scored")
    assert heard.said("3 of 6 steps were skipped")
    rows = list(read_metrics(tmp_path / "metrics.jsonl"))
    assert [row.get("unscored", 0) for row in rows] == [0, 1, 2, 2, 2, 3]
    assert [row["loss"] == "nan" for row in rows] == [False, True, True, False, False, True]
    assert checkpoint.read_state(checkpoint.find(tmp_path))["unscored"] == 3


def test_data_that_score_nothing_end_the_run():
    run = trainer(None, steps=500)
    unscored(run, lambda step: True)
    with pytest.raises(TrainingError, match="100 steps in a row"):
        run.fit()


def test_nothing_to_validate_on_is_an_error_where_it_was_asked_for(tmp_path):
    (tmp_path / "t.txt").write_text("counting up and down " * 40)
    mapping: dict[str, Any] = {
        "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16},
        "data": {"sources": [str(tmp_path / "t.txt")], "tokenizer": "characters", "validation": 0},
    }
    train = {"steps": 2, "batch_size": 2, "compile": "off", "dtype": "float32"}
    asking = {"eval_every": 2, "eval_epochs": 0.5, "patience": 2, "keep_best": True}
    for key, value in asking.items():
        asked = {**mapping, "train": {**train, key: value}}
        with pytest.raises(ConfigError, match=f"train.{key}: .*nothing to validate on"):
            run_training(asked, tmp_path / "run", Silent())
    result, evaluation = run_training({**mapping, "train": train}, tmp_path / "run", Silent())
    assert result is not None and result.step == 2 and evaluation is None


# ---- gradients


def test_half_precision_whose_gradients_are_never_finite_stops(monkeypatch):
    heard = Heard()
    run = trainer(None, heard, steps=200, dtype="float16")
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    monkeypatch.setattr(run.update, "_clip", lambda: math.inf)
    scaler: Any = run.update.scaler
    monkeypatch.setattr(scaler, "update", lambda: scaler._scale.div_(2))
    scaler._lazy_init_scale_growth_tracker(torch.device("cpu"))
    with pytest.raises(TrainingError, match=r"gradient norm inf.*dtype float32"):
        run.fit()
    assert 16 <= run.state.step <= 30 and scaler.get_scale() > 0
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


# ---- rates


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd", "constant"])
@pytest.mark.parametrize(("steps", "warm"), [(50, 10), (50, 0), (50, 1), (50, 40), (1000, 100)])
def test_the_peak_is_reached_and_the_floor_at_the_end(kind, steps, warm):
    config = ScheduleConfig(kind=kind, warmup_steps=warm, floor=0.0, decay_fraction=1.0)
    factors = [multiplier(config, step, step / steps) for step in range(steps)]
    assert max(factors) == pytest.approx(1.0)
    peak = max(0, warm - 1)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    if kind != "constant":
        assert factors[-1] < 0.2 and multiplier(config, steps, 1.0) == pytest.approx(0, abs=1e-9)


def test_a_warm_up_that_takes_the_whole_run_is_told():
    heard = Heard()
    trainer(None, heard, steps=5, schedule=ScheduleConfig(warmup_steps=10))
    assert heard.said("warm-up of 10 steps takes the whole run of 5", "0.50 of its peak")
    assert warmup_note(ScheduleConfig(warmup_steps=10), 11) is None
    heard = Heard()
    trainer(None, heard, steps=None, seconds=0.01, schedule=ScheduleConfig(warmup_steps=999)).fit()
    assert heard.said("warm-up of 999 steps takes the whole run")


@pytest.mark.parametrize("rate", [3e-7, 1.23456789e-5, 0.3])
def test_small_numbers_keep_their_digits(tmp_path, rate):
    from gptpy.config.training import OptimConfig

    trainer(tmp_path, optim=OptimConfig(lr=rate), steps=1).fit()
    (row,) = read_metrics(tmp_path / "metrics.jsonl")
    assert row["lr"] == pytest.approx(rate, rel=1e-5)


# ---- how often


def test_a_run_is_evaluated_twenty_times_by_default():
    score = lambda model: Evaluation(1.0, 1.0, None, 1, None, 16, 16, 0.0)  # noqa: E731
    for changes, steps in (
        ({"steps": 200}, [*range(10, 201, 10)]),
        ({"steps": 7}, [*range(1, 8)]),
        ({"steps": 90, "eval_every": 45}, [45, 90]),
        ({"steps": None, "tokens": 32 * 40}, [*range(2, 41, 2)]),
    ):
        seen: list[int] = []
        heard = Heard()
        heard.on_eval = lambda row, seen=seen: seen.append(row["step"])  # type: ignore[method-assign]
        trainer(None, heard, evaluate=score, **changes).fit()
        assert seen == steps


def test_a_checkpoint_every_ten_minutes_and_at_each_best_evaluation(tmp_path, monkeypatch):
    clock, losses = [0.0], iter([3.0, 4.0, 2.0] + [5.0] * 99)
    monkeypatch.setattr("gptpy.train.trainer.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("gptpy.train.meter.peak_flops", lambda *_: None)  # measures with it
    saved: list[int] = []
    real = checkpoint.save
    monkeypatch.setattr(
        checkpoint, "save", lambda run, step, **rest: (saved.append(step), real(run, step, **rest))
    )

    def minute(metrics):
        clock[0] += 60.0

    score = lambda model: Evaluation(next(losses), 1.0, None, 1, None, 16, 16, 0.0)  # noqa: E731
    trainer(tmp_path, Heard(minute), steps=32, evaluate=score, eval_every=2).fit()
    assert saved[:2] == [2, 6], "the best ones"
    assert all(b - a <= 11 for a, b in pairwise(saved)) and saved[-1] == 32
    assert len(saved) == 5 and checkpoint.steps(tmp_path) == [6, *saved[-2:]]


# ---- signals


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path, name):
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"this system has no {name}")
    before = signal.getsignal(number)
    if before == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

    def send(metrics):
        if metrics["step"] == 2:
            os.kill(os.getpid(), number)

    try:
        result = trainer(tmp_path, Heard(send)).fit()
    finally:
        signal.signal(number, before)
    assert (result.stopped, result.step) == ("interrupted", 2)
    assert checkpoint.steps(tmp_path) == [2]
    assert trainer(tmp_path, resume=True).fit().step == 6


def test_ctrl_c_several_times_at_once_loses_nothing(tmp_path):
    def send(metrics):
        if metrics["step"] == 2:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)

    result = trainer(tmp_path, Heard(send)).fit()
    os.kill(os.getpid(), signal.SIGINT)  # and once more when all is saved
    assert result.stopped == "interrupted" and checkpoint.steps(tmp_path) == [2]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_late_ctrl_c_says_what_will_be_lost_and_the_next_ends(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("gptpy.train.interrupt.time.monotonic", lambda: clock[0])

    def send(metrics):
        if metrics["step"] == 3:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                clock[0] += 2 * GRACE_SECONDS

    heard = Heard(send)
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, heard, save_every=2).fit()
    assert heard.said("Ctrl-C once more ends at once", "after step 2 is then lost")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def evals_of(run: Path) -> list[tuple[int, float]]:
    rows = [row for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "eval"]
    return [(row["step"], row["val_loss"]) for row in rows]


@pytest.mark.parametrize("steps", [6, 4])  # the run has more to do, or ends with this evaluation
def test_a_signal_stops_an_evaluation_and_the_resumed_run_begins_with_it(tmp_path, steps):
    def run(folder, signal_at=0, resume=False):
        interrupt, asked = Interrupt(), []

        def stop():
            asked.append(1)
            if len(asked) == signal_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return interrupt.requested

        def score(model):
            return evaluate(model, np.arange(80) % 64, batch_tokens=16, stop=stop)

        run = trainer(
            folder, evaluate=score, interrupt=interrupt, resume=resume, steps=steps, eval_every=2
        )
        return run.fit()

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole)
    result = run(parts, signal_at=7)  # of five windows each: the second one of the second time
    assert (result.stopped, result.step) == ("interrupted", 4)
    assert checkpoint.read_state(checkpoint.find(parts, 4))["evaluation_due"]
    assert [step for step, _ in evals_of(parts)] == [2]
    assert run(parts, resume=True).stopped == "done"
    assert evals_of(parts) == evals_of(whole)
    ends = [checkpoint.read_state(checkpoint.find(folder, steps)) for folder in (whole, parts)]
    assert ends[0]["best_loss"] == ends[1]["best_loss"] and not ends[1]["evaluation_due"]


def test_handlers_come_back_and_late_signals_reach_them(monkeypatch):
    clock, heard = [0.0], []
    monkeypatch.setattr("gptpy.train.interrupt.time.monotonic", lambda: clock[0])
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("mine"))
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)
        assert interrupt.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert heard == []
        clock[0] += GRACE_SECONDS
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert heard == ["mine", "mine"]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_closed_terminal_is_no_request_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not interrupt.requested and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# ---- disks


def test_a_full_disk_under_metrics_and_samples_is_survived_and_told(tmp_path, monkeypatch):
    heard, real = Heard(), Path.open
    step = lambda: len(heard.steps) + 1  # noqa: E731

    def full(path, mode="r", *arguments, **options):
        if path.name in ("metrics.jsonl", "samples.txt") and mode == "a" and step() in (3, 4):
            with real(path, mode, *arguments, **options) as file:
                file.write('{"kind": "st')  # what fitted
            raise OSError(28, "No space left on device")
        return real(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    run = trainer(tmp_path, heard, sample=lambda model: "text", sample_every=3)
    assert run.fit().step == 6
    assert steps_of(tmp_path) == [1, 2, 5, 6]
    assert heard.said(str(tmp_path / "metrics.jsonl"), "No space left")
    assert sum("metrics.jsonl" in text for text in heard.messages) == 1
    assert "--- step 6" in (tmp_path / "samples.txt").read_text()


def test_a_failed_save_of_the_best_keeps_the_best_that_can_be_opened(tmp_path, monkeypatch):
    real = checkpoint.save

    def full(run, step, **rest):
        if step == 4:
            raise checkpoint.CheckpointError("full")
        return real(run, step, **rest)

    monkeypatch.setattr(checkpoint, "save", full)
    losses = iter([3.0, 2.0, 2.5])
    score = lambda model: Evaluation(next(losses), 1.0, None, 1, None, 16, 16, 0.0)  # noqa: E731
    trainer(tmp_path, evaluate=score, eval_every=2).fit()
    state = checkpoint.read_state(checkpoint.find(tmp_path))
    assert state["best_step"] == 2 and checkpoint.steps(tmp_path) == [2, 6]


def test_what_a_killed_writer_left_is_cleared_by_the_next_run(tmp_path):
    for name in (".split-ab12", "data/.encode-x", "checkpoints/.step-3.0f.tmp"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "ids").write_text("1")
    (tmp_path / ".config.toml.12ab.tmp").write_text("half")
    (tmp_path / "data/.job.json.12ab.old").write_text("{}")
    (tmp_path / ".mine").write_text("stays")
    trainer(tmp_path, steps=1).fit()
    there = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob(".*")}
    assert there == {".mine"} and (tmp_path / "data/job.json").read_text() == "{}"


def test_an_error_while_a_file_is_written_names_the_file(tmp_path):
    with (
        pytest.raises(OSError, match="No space") as error,
        atomic.file(tmp_path / "summary.json"),
    ):
        raise OSError(28, "No space left on device")
    assert error.value.filename == str(tmp_path / "summary.json")
