"""TensorBoard and wandb: a resumed run goes on in its own run there; neither can end a training."""

import sys
from types import SimpleNamespace

import pytest

from gptpy.config import ConfigError
from gptpy.runs.metrics import MetricsLog, read_metrics


class Wandb:
    """What the log uses of wandb."""

    def __init__(self, refuse: str = "") -> None:
        self.started: list[dict] = []
        self.rows: list[tuple[int, dict]] = []
        self.refuse = refuse
        self.broken = False

    def init(self, **options):
        if self.refuse:
            raise RuntimeError(self.refuse)
        self.started.append(options)
        return SimpleNamespace(log=self.log, finish=lambda: None)

    def log(self, row, step):
        if self.broken:
            raise OSError(28, "No space left on device")
        self.rows.append((step, row))


@pytest.fixture
def wandb(monkeypatch):
    found = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", found)
    monkeypatch.setattr("gptpy.runs.trackers.find_spec", lambda name: True)
    return found


def test_wandb_goes_on_in_the_same_run(tmp_path, wandb):
    for resumed_at in (None, 1, 2):
        log = MetricsLog(tmp_path, resumed_at=resumed_at, wandb="project")
        log.write("step", {"step": (resumed_at or 0) + 1, "loss": 1.0})
        log.close()
    ids = [options["id"] for options in wandb.started]
    assert len(ids) == 3 and len(set(ids)) == 1
    assert all(options["resume"] == "allow" for options in wandb.started)
    MetricsLog(tmp_path, wandb="project")  # begun anew
    assert wandb.started[-1]["id"] != ids[0]


def test_wandb_that_does_not_start_is_one_error(tmp_path, wandb):
    wandb.refuse = "No API key configured. Use `wandb login` to log in."
    with pytest.raises(ConfigError, match=r"train.wandb 'p' does not start: No API key"):
        MetricsLog(tmp_path, wandb="p")


def test_a_tracker_that_fails_is_left_out_and_told(tmp_path, wandb):
    told: list[str] = []
    log = MetricsLog(tmp_path, wandb="project", tell=told.append)
    wandb.broken = True
    for step in (1, 2):
        log.write("step", {"step": step, "loss": 1.0})
    wandb.broken = False
    log.write("step", {"step": 3, "loss": 1.0})
    log.close()
    assert wandb.rows == [] and len(told) == 1 and "wandb failed" in told[0]
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]


def test_tensorboard_purges_what_the_run_writes_again(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    made = []

    class Writer:
        def __init__(self, folder, purge_step=None):
            made.append((folder, purge_step))

        def add_scalar(self, *arguments): ...
        def close(self): ...

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Writer)
    for resumed_at in (None, 4):
        MetricsLog(tmp_path, resumed_at=resumed_at, tensorboard=True).close()
    assert made == [(str(tmp_path / "tensorboard"), None), (str(tmp_path / "tensorboard"), 5)]
