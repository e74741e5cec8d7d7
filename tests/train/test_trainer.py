"""The training loop: exact resume, accumulation, guards, budgets."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.training import OptimConfig, ScheduleConfig, TrainConfig
from gptpy.data import Dataset
from gptpy.data.dataset import IGNORE, Batch
from gptpy.data.errors import DataError
from gptpy.data.rows import Row, Rows
from gptpy.evaluation.loss import Evaluation
from gptpy.evaluation.rows import evaluate_rows, row_batches
from gptpy.model import GPT
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics
from gptpy.runs.progress import Silent
from gptpy.train import Trainer, TrainingError

MODEL = GPTConfig.preset(
    "modern-1m", n_layer=2, n_embd=32, n_head=2, n_kv_head=2, vocab_size=64, block_size=16
)


def make_model(seed: int = 0, **overrides) -> GPT:
    torch.manual_seed(seed)
    return GPT(MODEL.replace(**overrides))


def make_data(seed: int = 0) -> Dataset:
    # Something to learn: counting up, with noise
    noise = np.random.default_rng(0).integers(0, 64, 2000)
    ids = np.where(noise < 8, noise, np.arange(2000) % 64).astype(np.uint16)
    return Dataset([ids], 16, seed=seed)


def settings(**changes) -> TrainConfig:
    base = {"steps": 12, "batch_size": 8, "dtype": "float32", "compile": "off", "log_every": 1}
    optim = OptimConfig(name="muon", lr=1e-2)
    schedule = ScheduleConfig(warmup_steps=2)
    return TrainConfig(**{**base, "optim": optim, "schedule": schedule, **changes})


def weights(model: GPT) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


def test_training_learns():
    model = make_model()
    losses: list[float] = []

    class Recorder(Silent):
        def on_step(self, metrics):
            losses.append(metrics["loss"])

    result = Trainer(model, make_data(), settings(steps=60), reporter=Recorder()).fit()
    assert result.step == 60 and result.tokens == 60 * 8 * 16 and result.stopped == "done"
    assert losses[0] == pytest.approx(math.log(64), abs=1e-4)  # a zero head is uniform
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_resumed_run_is_bit_identical(tmp_path: Path, cut: int):
    changes = {"ema_decay": 0.9, "eval_every": 3}
    whole = make_model(dropout=0.1)
    Trainer(whole, make_data(), settings(**changes), run_dir=tmp_path / "whole").fit()

    class Stop(Exception):
        pass

    class Cut(Silent):
        def on_step(self, metrics):
            if metrics["step"] == cut + 1:
                raise Stop

    run = tmp_path / "cut"
    first = Trainer(
        make_model(dropout=0.1),
        make_data(),
        settings(**changes, save_every=1),
        run_dir=run,
        reporter=Cut(),
    )
    with pytest.raises(Stop):
        first.fit()
    again = make_model(seed=99, dropout=0.1)  # the checkpoint replaces its initial weights
    trainer = Trainer(again, make_data(), settings(**changes), run_dir=run, resume=True)
    assert trainer.state.step == cut
    trainer.fit()
    assert same(weights(whole), weights(again))
    one, other = (
        checkpoint.read_tensors(checkpoint.find(folder), name)
        for name in ("optimizer",)
        for folder in (tmp_path / "whole", run)
    )
    assert same(one, other)
    rows = [
        [(r["step"], r["loss"]) for r in read_metrics(d / "metrics.jsonl")]
        for d in (tmp_path / "whole", run)
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 12


def test_accumulation_is_the_whole_batch():
    ends = []
    # AdamW moves an element by its rate however small the gradient, so rounding could decide where
    optim = OptimConfig(name="muon", lr=1e-2, eps=1e-4)
    for micro in (8, 4, 1):
        model = make_model()
        Trainer(model, make_data(), settings(micro_batch_size=micro, optim=optim)).fit()
        ends.append(weights(model))
    for other in ends[1:]:
        for name, tensor in ends[0].items():
            torch.testing.assert_close(other[name], tensor, atol=2e-3, rtol=0)


def test_micro_batches_count_by_their_tokens():
    """A micro-batch with few scored targets must not weigh as much as a full one."""
    model = make_model()
    trainer = Trainer(model, make_data(), settings(optim=OptimConfig(grad_clip=None)))
    full = make_data().batch(np.arange(4))
    targets = full.targets.clone()
    targets[:2, 2:] = IGNORE
    whole = Batch(full.inputs, targets)
    halves = [Batch(full.inputs[i : i + 2], targets[i : i + 2]) for i in (0, 2)]
    gradients = []
    for batches in ([whole], halves):
        trainer.update._gradients(batches, sum(b.tokens for b in batches), step=0)
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        model.zero_grad()
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_bad_steps_are_skipped_then_the_run_gives_up():
    model = make_model()
    before = weights(model)
    trainer = Trainer(model, make_data(), settings(max_bad_steps=3))
    trainer.update.forward = lambda *_, **__: (None, next(model.parameters()).sum() * math.nan)
    with pytest.raises(TrainingError, match=r"3 steps in a row up to step 3 had loss nan"):
        trainer.fit()
    assert same(before, weights(model))
    assert trainer.state.step == 3


def test_an_average_switched_on_later_begins_with_the_weights_it_finds(tmp_path: Path):
    Trainer(make_model(), make_data(), settings(), run_dir=tmp_path).fit()
    again = make_model(seed=99)
    config = settings(steps=20, ema_decay=0.9)
    trainer = Trainer(again, make_data(), config, run_dir=tmp_path, resume=True)
    assert trainer.average is not None
    assert same(trainer.average.tensors, dict(again.named_parameters()))


def scripted(losses: list[float]):
    remaining = iter(losses)
    return lambda model: Evaluation(next(remaining), 1.0, None, 1, None, 16, 16, 0.0)


def test_early_stopping_and_the_best_checkpoint(tmp_path: Path):
    config = settings(steps=100, eval_every=2, patience=2, keep_last=1, save_every=1)
    score = scripted([3.0, 2.0, 2.5, 2.6, 0.0])
    result = Trainer(make_model(), make_data(), config, run_dir=tmp_path, evaluate=score).fit()
    assert result.stopped == "early" and result.step == 8
    assert checkpoint.steps(tmp_path) == [4, 8]
    assert checkpoint.read_state(checkpoint.find(tmp_path))["best_step"] == 4


def test_a_validation_loss_that_is_no_number_is_never_the_best(tmp_path: Path):
    config = settings(steps=100, eval_every=2, patience=2, keep_last=1, save_every=1)
    score = scripted([math.nan, 3.0, math.nan, math.nan])
    result = Trainer(make_model(), make_data(), config, run_dir=tmp_path, evaluate=score).fit()
    assert (result.stopped, result.step) == ("early", 8)
    assert checkpoint.read_state(checkpoint.find(tmp_path))["best_step"] == 4


def test_budgets_end_a_run():
    data = make_data()
    for changes, steps in [
        ({"steps": None, "tokens": 1000}, math.ceil(1000 / 128)),
        ({"steps": None, "epochs": 0.5}, math.ceil(data.n_windows / 2 / 8)),
        ({"steps": 3, "tokens": 1000}, 3),
    ]:
        assert Trainer(make_model(), data, settings(**changes)).fit().step == steps
    slow = Trainer(make_model(), data, settings(steps=10**6, seconds=0.2)).fit()
    assert 0 < slow.step < 10**6
    with pytest.raises(ConfigError, match="nothing ends this run"):
        Trainer(make_model(), data, settings(steps=None))


def test_other_data_cannot_resume(tmp_path: Path):
    Trainer(make_model(), make_data(), settings(steps=1), run_dir=tmp_path).fit()
    with pytest.raises(DataError, match="trained on other data"):
        Trainer(make_model(), make_data(seed=1), settings(), run_dir=tmp_path, resume=True)
    with pytest.raises(checkpoint.CheckpointError, match="another model"):
        Trainer(make_model(n_layer=1), make_data(), settings(), run_dir=tmp_path, resume=True)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch):
    messages: list[str] = []

    class Recorder(Silent):
        def on_message(self, text):
            messages.append(text)

    real, calls = checkpoint.save_file, []

    def full(tensors, path):
        calls.append(path)
        if len(calls) in (4, 5):  # in the second and the third checkpoint
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    config = settings(steps=4, save_every=1, keep_last=9)
    Trainer(make_model(), make_data(), config, run_dir=tmp_path, reporter=Recorder()).fit()
    assert checkpoint.steps(tmp_path) == [1, 4]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-1", "step-4"]
    assert sum("No space left" in m and "untouched" in m for m in messages) == 2


def test_a_disk_full_to_the_end_is_an_error(tmp_path: Path, monkeypatch):
    real = checkpoint.save_file

    def full(tensors, path):
        if "step-1." not in str(path):
            raise OSError(28, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    config = settings(steps=3, save_every=1)
    with pytest.raises(checkpoint.CheckpointError, match=r"step-3 could not be .* No space left"):
        Trainer(make_model(), make_data(), config, run_dir=tmp_path).fit()
    assert checkpoint.steps(tmp_path) == [1]


class CompilerError(RuntimeError):
    """An error of the compiler, which the trainer recognises by its module."""


CompilerError.__module__ = "torch._inductor.exc"


def test_training_goes_on_without_a_broken_compiler(monkeypatch):
    def broken(model, **options):
        def call(*args, **kwargs):
            raise CompilerError("no Python.h")

        return call

    plain, compiled = make_model(), make_model()
    Trainer(plain, make_data(), settings(steps=2)).fit()
    monkeypatch.setattr(torch, "compile", broken)
    Trainer(compiled, make_data(), settings(steps=2, compile="on")).fit()
    assert same(weights(plain), weights(compiled))


def test_evaluating_does_not_count_as_a_slow_step(monkeypatch):
    """Tokens per second are those of the steps, by a clock that batches and evaluations move."""
    clock, rates = [0.0], []
    monkeypatch.setattr("gptpy.train.trainer.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("gptpy.train.meter.peak_flops", lambda *_: None)  # measures with it
    data = make_data()
    batch = data.batch

    def slow(*arguments, **options):
        clock[0] += 2
        return batch(*arguments, **options)

    monkeypatch.setattr(data, "batch", slow)

    def score(model):
        clock[0] += 1000
        return Evaluation(1.0, 1.0, None, 1, None, 16, 16, 0.0)

    class Recorder(Silent):
        def on_step(self, metrics):
            rates.append(metrics["tokens_per_second"])

    config = settings(steps=6, eval_every=2, keep_best=False)
    Trainer(make_model(), data, config, evaluate=score, reporter=Recorder()).fit()
    assert rates == [8 * 16 / 2] * 6 and clock[0] == 6 * 2 + 3 * 1000


def test_evaluating_by_epochs_and_counting_tokens_without_padding():
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 64, rng.integers(2, 17)) for _ in range(20)]
    data = Rows([Row(row[:-1], row[1:]) for row in ids], 16)
    evaluated = []

    class Recorder(Silent):
        def on_eval(self, metrics):
            evaluated.append((metrics["step"], metrics["epoch"]))

    trainer = Trainer(
        make_model(),
        data,
        settings(steps=None, epochs=3, eval_epochs=1),
        evaluate=lambda model: evaluate_rows(model, row_batches(data, 64)),
        reporter=Recorder(),
    )
    result = trainer.fit()
    assert evaluated == [(3, 1.2), (5, 2.0), (8, 3.2)] and result.step == 8
    assert result.tokens == sum(len(data.rows[i].inputs) for i in data.places(np.arange(64)))
