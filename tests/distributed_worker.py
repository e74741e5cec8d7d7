"""One process of a run over several; started by test_distributed.py with torchrun's variables."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gptpy import checkpoint
from gptpy.config import GPTConfig
from gptpy.config.training import OptimConfig, ScheduleConfig, TrainConfig
from gptpy.data import Dataset
from gptpy.distributed import join_world, leave_world
from gptpy.model import GPT
from gptpy.train import Trainer


class Record(Dataset):
    """A data set that notes which samples this process read."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen: list[int] = []

    def batch(self, samples, **options):
        self.seen += samples.tolist()
        return super().batch(samples, **options)


def main(out: str, run_dir: str, kind: Any, steps: str, micro: str, resume: str) -> None:
    torch.set_num_threads(1)
    world = join_world("cpu")
    torch.manual_seed(0)
    preset = GPTConfig.preset(
        "modern-1m", n_layer=2, n_embd=32, n_head=2, n_kv_head=2, vocab_size=64, block_size=16
    )
    model = GPT(preset)
    noise = np.random.default_rng(0).integers(0, 64, 2000)
    data = Record([np.where(noise < 8, noise, np.arange(2000) % 64).astype(np.uint16)], 16)
    config = TrainConfig(
        steps=int(steps),
        batch_size=8,
        micro_batch_size=int(micro),
        dtype="float32",
        compile="off",
        log_every=1,
        parallel=kind,
        optim=OptimConfig(name="muon", lr=1e-2, grad_clip=0.5),
        schedule=ScheduleConfig(kind="constant", warmup_steps=2),
    )
    trainer = Trainer(
        model, data, config, run_dir=Path(run_dir), world=world, resume=resume == "resume"
    )
    trainer.fit()
    tensors = checkpoint.whole(model.state_dict())
    torch.save(
        {"seen": data.seen, "weights": {k: v.detach().clone() for k, v in tensors.items()}},
        f"{out}.{world.rank}",
    )
    leave_world()


if __name__ == "__main__":
    main(*sys.argv[1:])
