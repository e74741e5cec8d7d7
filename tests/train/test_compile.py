"""Training through `torch.compile`: the same run as without, and to the last bit after a resume.

With several processes: test_distributed.py.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.config.run import RunConfig
from gptpy.config.training import OptimConfig, ScheduleConfig, TrainConfig
from gptpy.data import Dataset
from gptpy.devices.selection import COMPILE_STEPS, choose_compile
from gptpy.evaluation.loss import evaluate
from gptpy.model import GPT
from gptpy.model.fast.layers import ReproducibleEmbedding
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics
from gptpy.runs.progress import Silent
from gptpy.train import Trainer

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="there is no C++ compiler"
)

# GPT-2's block has the fewest kernels, and each takes the C++ compiler seconds
MODEL = GPTConfig.preset("gpt2", n_layer=1, n_embd=32, n_head=2, vocab_size=16, block_size=16)
CUT = 2


class Strict(Silent):
    """Fails where the compiler does, instead of letting the run go on without it."""

    def on_message(self, text: str) -> None:
        assert "does not work" not in text


def train(run: Path, resume: bool = False, **changes: Any) -> Any:
    """A short run that evaluates, samples and saves, begun as in a process of its own."""
    torch._dynamo.reset()
    torch.manual_seed(99 if resume else 0)  # a checkpoint replaces the initial weights
    model = GPT(MODEL.replace(activation_checkpointing=True))
    ids = (np.arange(600) ** 2 % 16).astype(np.uint16)
    data = Dataset([ids], 16)
    base: dict[str, Any] = {"steps": 4, "batch_size": 16, "micro_batch_size": 8}
    base |= {"compile": "on", "dtype": "float32", "ema_decay": 0.9, "log_every": 1}
    base |= {"eval_every": CUT, "sample_every": CUT, "save_every": CUT, "keep_last": 9}
    base |= {"optim": OptimConfig(lr=1e-2), "schedule": ScheduleConfig(warmup_steps=0)}
    trainer = Trainer(
        model,
        data,
        TrainConfig(**{**base, **changes}),
        run_dir=run,
        evaluate=lambda model: evaluate(model, ids[:100]),
        sample=lambda model: str(model.generate(torch.tensor([[1]]), 3, temperature=0).tolist()),
        reporter=Strict(),
        resume=resume,
    )
    trainer.fit()
    return trainer


def losses(run: Path) -> list[float]:
    rows = read_metrics(run / "metrics.jsonl")
    return [row["loss"] if row["kind"] == "step" else row["val_loss"] for row in rows]


def test_a_compiled_run(tmp_path: Path) -> None:
    whole, cut, eager = (tmp_path / name for name in ("whole", "cut", "eager"))
    trained = train(whole)
    assert trained.update.forward is not trained.update._plain
    shutil.copytree(checkpoint.find(whole, CUT), cut / "checkpoints" / f"step-{CUT}")
    shutil.copy(whole / "metrics.jsonl", cut)
    train(cut, resume=True)
    train(eager, compile="off")
    assert losses(cut) == losses(whole) and len(losses(whole)) == 4 + 2
    assert losses(whole) == pytest.approx(losses(eager), rel=1e-4)
    for kind in ("model", "optimizer", "ema"):
        one, other, plain = (
            checkpoint.read_tensors(checkpoint.find(run), kind) for run in (whole, cut, eager)
        )
        assert one.keys() == other.keys() == plain.keys()  # names without the compiler's prefix
        assert all(torch.equal(one[name], tensor) for name, tensor in other.items())
    samples = [(run / "samples.txt").read_text() for run in (whole, cut)]
    assert samples[0].startswith("--- step 2") and samples[0].endswith(samples[1])
    # a run goes on uncompiled, too
    assert train(whole, resume=True, compile="off", steps=5).state.step == 5


def test_equal_ids_add_up_in_the_same_order_every_time() -> None:
    """The gradient of a compiled embedding, on all threads; torch's own is not repeatable."""
    torch.manual_seed(0)
    table, ids = ReproducibleEmbedding(4, 64), torch.randint(4, (64, 64))
    weights = torch.randn(64, 64, 64)

    def gradient(call: Any) -> torch.Tensor:
        table.zero_grad()
        (call(ids) * weights).sum().backward()
        assert table.weight.grad is not None
        return table.weight.grad.clone()

    compiled = torch.compile(table)
    first = gradient(compiled)
    assert all(torch.equal(gradient(compiled), first) for _ in range(5))
    torch.testing.assert_close(first, gradient(table))


@pytest.mark.parametrize(("min_length", "dynamic"), [(None, None), (4, True)])
def test_batches_of_many_lengths_share_one_code(
    monkeypatch: pytest.MonkeyPatch, min_length: int | None, dynamic: bool | None
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda call, dynamic: asked.append(dynamic) or call)
    data = Dataset([np.arange(200) % 16], 16, min_length=min_length)
    config = TrainConfig(steps=2, batch_size=4, compile="on", dtype="float32")
    assert Trainer(GPT(MODEL), data, config).fit().step == 2
    assert asked == [dynamic]


def test_long_runs_compile_by_themselves() -> None:
    cpu = torch.device("cpu")
    assert choose_compile(cpu, "auto", COMPILE_STEPS) == (True, "a compiler is there")
    assert not choose_compile(cpu, "auto", COMPILE_STEPS - 1)[0]
    assert not choose_compile(cpu, "auto", None)[0]
    assert RunConfig.from_mapping({"train": {"steps": 1}}).train.compile == "auto"
