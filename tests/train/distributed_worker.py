"""Training jobs one after the other, alone or as one of several processes under torchrun.

test_distributed.py runs them alone by calling `work`, and together by starting this file.
"""

import copy
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.fsdp import FSDPModule

from gptpy.config import GPTConfig
from gptpy.config.lora import LoraConfig
from gptpy.config.training import OptimConfig, ScheduleConfig, TrainConfig
from gptpy.data import Dataset
from gptpy.devices.processes import (
    World,
    distribute,
    join_world,
    leave_world,
    reshard,
    shard_from_main,
)
from gptpy.evaluation.loss import evaluate
from gptpy.model import GPT, EncoderDecoder
from gptpy.model.lora import add_adapters
from gptpy.runs import checkpoint
from gptpy.train import Trainer, optimisers

MODEL = GPTConfig.preset(
    "modern-1m", n_layer=2, n_embd=32, n_head=2, n_kv_head=2, vocab_size=64, block_size=16
)


CUT = 3

# Muon's products run in bfloat16, which would magnify the rounding of exchanged gradients: in
# float32 what is left is rounding alone
optimisers._product_dtype = lambda device: torch.float32


class Record(Dataset):
    """A data set that notes which samples this process read."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen: list[int] = []

    def batch(self, samples, **options):
        self.seen += samples.tolist()
        return super().batch(samples, **options)


class Heard:
    """Keeps what the trainer says."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text):
        self.messages.append(text)

    def on_eval(self, metrics): ...
    def on_step(self, metrics): ...


def work(
    world: World,
    run: Path,
    *,
    kind: Any = "auto",
    steps: int = 6,
    micro: int = 4,
    resume: bool = False,
    fail: bool = False,
    saves: bool = True,
    compiled: bool = False,
    lora: bool = False,
) -> dict[str, Any]:
    """Train into `run`; returns what this process saw. `fail`: the disk is full at step 3; without
    `saves` there is one checkpoint only, at the end.
    """
    torch.manual_seed(0)
    model = GPT(MODEL)
    if lora:
        for parameter in model.parameters():  # a trained model has no zeros for adapters to meet
            torch.nn.init.normal_(parameter, std=0.05)
        add_adapters(model, LoraConfig(rank=4))
    noise = np.random.default_rng(0).integers(0, 64, 2000)
    ids = np.where(noise < 8, noise, np.arange(2000) % 64).astype(np.uint16)
    data, heard = Record([ids], 16), Heard()
    config = TrainConfig(
        steps=steps,
        batch_size=8,
        micro_batch_size=micro,
        dtype="float32",
        compile="on" if compiled else "off",
        log_every=1,
        save_every=3 if saves else None,
        keep_best=saves,
        eval_every=3,
        keep_last=9,
        ema_decay=0.9,
        parallel=kind,
        optim=OptimConfig(name="muon", lr=1e-2, grad_clip=0.5),
        schedule=ScheduleConfig(kind="constant", warmup_steps=2),
    )
    trainer = Trainer(
        model,
        data,
        config,
        run_dir=run,
        world=world,
        resume=resume,
        reporter=heard,
        evaluate=lambda model: evaluate(model, ids[:200]),
    )
    real = HuggingFaceStorageWriter.write_data
    if fail:

        def full(*arguments):
            if trainer.state.step == 3:
                raise OSError(28, "No space left on device")
            return real(*arguments)

        HuggingFaceStorageWriter.write_data = full  # type: ignore[method-assign]
    trainer.fit()
    HuggingFaceStorageWriter.write_data = real  # type: ignore[method-assign]
    return {"seen": data.seen, "messages": heard.messages}


def translate(world: World) -> dict[str, float]:
    """How far a sharded encoder-decoder's memory, loss and gradients are from a whole one's."""
    torch.manual_seed(0)
    whole: Any = EncoderDecoder(MODEL.replace(architecture="encoder-decoder"))
    shared = copy.deepcopy(whole)
    distribute(shared, world, "fsdp")
    source, ids = torch.arange(20).view(2, 10), torch.arange(1, 13).view(2, 6)
    found = {}
    with torch.no_grad():  # the first call of all, before any forward
        found["memory"] = float((shared.encode(source) - whole.encode(source)).abs().max())
    losses = []
    for model in (whole, shared):
        loss = model(ids, ids + 1, source=source)[1]
        loss.backward()
        losses.append(loss.item())
    found["loss"] = abs(losses[0] - losses[1])
    pairs = zip(whole.parameters(), shared.parameters(), strict=True)
    differences = [(one.grad - other.grad.full_tensor()).abs().max() for one, other in pairs]
    found["gradient"] = float(max(differences))
    found["in blocks"] = float(all(isinstance(b, FSDPModule) for b in shared.encoder_blocks))
    return found


def from_meta(world: World) -> dict[str, float]:
    """How far a model that is sharded from the main process's weights is from the whole one."""
    torch.manual_seed(world.rank)  # the others' weights would differ
    whole = GPT(MODEL)
    with torch.device("meta"):
        shared: Any = GPT(MODEL)
    shard_from_main(shared, whole if world.is_main else None, world, torch.device("cpu"))
    torch.manual_seed(0)
    whole = GPT(MODEL)
    state, ids = whole.state_dict(), torch.arange(24).view(2, 12)
    pairs = [(state[name], tensor.full_tensor()) for name, tensor in shared.state_dict().items()]
    loss = [float(model(ids, ids + 1)[1]) for model in (whole, shared)]
    reshard(shared)  # a forward pass leaves the weights gathered
    return {
        "weights": max(float((one - other).abs().max()) for one, other in pairs),
        "loss": abs(loss[0] - loss[1]),
        "sharded": float(sum(p.to_local().numel() for p in shared.parameters()))
        / sum(p.numel() for p in whole.parameters()),
    }


def cut(source: Path, run: Path) -> None:
    """A run as `source` was at the cut: its checkpoint of that step and the metrics."""
    kept = run / "checkpoints"
    kept.mkdir(parents=True)
    shutil.copytree(checkpoint.find(source, CUT), kept / f"step-{CUT}")
    shutil.copy(source / "metrics.jsonl", run)


def main(folder: str, jobs: str) -> None:
    torch.set_num_threads(1)
    # All of torch.compile but the C++ code at its end, which takes the better part of a minute
    torch.compile = partial(torch.compile, backend="aot_eager")  # type: ignore[assignment]
    world = join_world("cpu")
    found = {}
    for name, options in json.loads(jobs).items():
        failing = options.pop("fail", None)
        source = options.pop("resumes", None)
        if source and world.is_main:
            cut(Path(folder) / source, Path(folder) / name)
        world.barrier()
        found[name] = work(
            world, Path(folder) / name, fail=failing == world.rank, **options, resume=bool(source)
        )
    found["translate"] = translate(world)
    found["from meta"] = from_meta(world)
    Path(folder, f"seen.{world.rank}.json").write_text(json.dumps(found))
    leave_world()


if __name__ == "__main__":
    main(*sys.argv[1:])
    # models and meshes of a dozen jobs still hold the group: its threads must not meet an
    # interpreter that ends (pytorch issue 190489)
    os._exit(0)
