"""A small run that saves after every step; test_kill_and_resume.py starts and kills it."""

import sys
from pathlib import Path

import numpy as np
import torch

from gptpy.config import GPTConfig
from gptpy.config.training import OptimConfig, TrainConfig
from gptpy.data import Dataset
from gptpy.model import GPT
from gptpy.runs.checkpoint import steps
from gptpy.train import Trainer


def main(run_dir: str, total: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    preset = GPTConfig.preset(
        "modern-1m", n_layer=2, n_embd=32, n_head=2, n_kv_head=2, vocab_size=64, block_size=16
    )
    data = Dataset([np.random.default_rng(0).integers(0, 64, 4000).astype(np.uint16)], 16)
    config = TrainConfig(
        steps=int(total),
        batch_size=4,
        dtype="float32",
        compile="off",
        log_every=1,
        save_every=1,
        keep_last=3,
        ema_decay=0.9,
        optim=OptimConfig(name="muon"),
    )
    model = GPT(preset.replace(dropout=0.1))
    run = Path(run_dir)
    Trainer(model, data, config, run_dir=run, resume=bool(steps(run))).fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
