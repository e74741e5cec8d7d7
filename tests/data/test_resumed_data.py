"""A resumed run goes on with the data that it was trained on, cut as it began."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.config.training import TrainConfig
from gptpy.data import DataError, Dataset
from gptpy.model import build_model
from gptpy.train import Trainer

IDS = np.random.default_rng(0).integers(0, 9, 200)


def trainer(ids, run_dir, steps: int, *, resume: bool = False) -> Any:
    torch.manual_seed(0)
    model = build_model(GPTConfig(9, 16, 1, 1, 8))
    config = TrainConfig(steps=steps, batch_size=2, dtype="float32", compile="off")
    return Trainer(model, Dataset([ids], 16), config, run_dir=run_dir, resume=resume)


def test_other_ids_of_the_same_number_are_refused(tmp_path):
    trainer(IDS, tmp_path, 1).fit()
    with pytest.raises(DataError, match=r"was trained on other data.*fingerprint"):
        trainer(IDS[::-1], tmp_path, 2, resume=True)
    assert trainer(IDS, tmp_path, 2, resume=True).data.windows == 2


def test_a_run_of_an_older_version_keeps_its_windows_for_good(tmp_path):
    """Its checkpoint says nothing of them; those that follow do not make it a new one."""
    trainer(IDS, tmp_path, 1).fit()
    state = tmp_path / "checkpoints/step-1/state.json"
    saved = json.loads(state.read_text())
    assert saved["data"].pop("fingerprint").startswith("2-")
    state.write_text(json.dumps(saved))
    for steps in (2, 3):
        resumed = trainer(IDS, tmp_path, steps, resume=True)
        assert resumed.data.windows == 1 and resumed.data.n_windows == (200 - 16) // 16
        resumed.fit()
