"""`metrics.jsonl`: every line is JSON, and a resumed run writes no step twice."""

import json
import math
from pathlib import Path

from gptpy.runs.metrics import MetricsLog, append_metrics, read_metrics


def rows(folder: Path) -> list[dict]:
    return list(read_metrics(folder / "metrics.jsonl"))


def test_numbers_that_are_not_finite_become_strings(tmp_path: Path):
    log = MetricsLog(tmp_path)
    log.write("step", {"step": 1, "loss": math.nan})
    log.close()
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row == {"kind": "step", "step": 1, "loss": "nan"}


def test_a_truncated_line_is_left_out(tmp_path: Path):
    MetricsLog(tmp_path).close()
    append_metrics(tmp_path, "eval", {"step": 1, "val_loss": 2.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "st')
    assert rows(tmp_path) == [{"kind": "eval", "step": 1, "val_loss": 2.5}]


def test_a_resume_drops_the_steps_that_it_repeats(tmp_path: Path):
    for resumed_at, steps in ((None, (1, 2, 3)), (2, (3, 4))):
        log = MetricsLog(tmp_path, resumed_at=resumed_at)
        for step in steps:
            log.write("step", {"step": step, "loss": 1.0})
        log.close()
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4]


def test_without_a_folder_nothing_is_written(tmp_path: Path):
    log = MetricsLog(None)
    log.write("step", {"step": 1})
    log.close()
    assert not list(tmp_path.iterdir())
