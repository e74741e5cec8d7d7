"""Which files of gptpy a reader enters on three walks, counted while they run (`sys.setprofile`).

A file counts where one of its functions is called between the call and the result: a text through
`prepare` to a batch, a checkpoint back to text, one training step (a small GPT-2 on a CPU). Each
walk runs once before, so that imports and choices that are made once are over.

    python tools/walks.py [--files]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 16,
    "block_size": 32,
    "vocab_size": 50257,
}
TEXT = "It was the best of times, it was the worst of times.\n" * 400


def entered(walk: Callable[[], object], package: Path) -> dict[str, int]:
    """The files of `package` whose functions `walk()` enters, each with its number of lines."""
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        # The body of a module or of a class is no call that a reader follows
        if event == "call" and frame.f_code.co_flags & 1:  # CO_OPTIMIZED: a function
            seen.add(frame.f_code)

    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        walk()
    finally:
        sys.setprofile(previous)
    files = {Path(code.co_filename) for code in seen}
    inside = sorted(file for file in files if package in file.parents)
    return {
        file.relative_to(package.parent).as_posix(): len(file.read_text("utf-8").splitlines())
        for file in inside
    }


def walks(folder: Path) -> dict[str, Callable[[], object]]:
    """The walks by name; what they need is made in `folder`."""
    import torch

    from gptpy import Dataset, GPTConfig, load
    from gptpy.config.training import TrainConfig
    from gptpy.data.prepare import prepare
    from gptpy.data.prepared import open_prepared
    from gptpy.model import build_model
    from gptpy.tokenizer import open_tokenizer
    from gptpy.train import Trainer

    text, tokenizer, count = folder / "text.txt", open_tokenizer("gpt2"), iter(range(99))
    text.write_text(TEXT, encoding="utf-8")

    def to_batch() -> object:
        data = folder / f"data-{next(count)}"
        prepare([str(text)], tokenizer, data)
        return Dataset(open_prepared(data).train.shards, 32).batch(np.arange(4))

    to_batch()
    data = Dataset(open_prepared(folder / "data-0").train.shards, 32)
    model = build_model(GPTConfig(**SHAPE))
    config = TrainConfig(steps=3, batch_size=4, device="cpu", dtype="float32", compile="off")
    trainer = Trainer(model, data, config, run_dir=folder / "run", tokenizer=tokenizer)
    trainer.fit()

    def to_text() -> str:
        loaded = load(folder / "run", device="cpu", dtype="float32")
        ids = torch.tensor([loaded.tokenizer.encode_ordinary("It was")])
        return loaded.tokenizer.decode(loaded.model.generate(ids, 4, seed=1)[0].tolist())

    def step() -> object:
        return trainer._step(0.5)  # of the training loop: batch, update, counters

    to_text()
    step()
    return {
        "a text through prepare to a batch": to_batch,
        "a checkpoint back to text": to_text,
        "one training step": step,
    }


def main() -> int:
    """Print a table of the walks; with `--files` also the files of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", action="store_true", help="list the files of every walk")
    show = parser.parse_args().files
    import gptpy

    package = Path(gptpy.__file__).resolve().parent
    with tempfile.TemporaryDirectory() as folder:
        for name, walk in walks(Path(folder)).items():
            found = entered(walk, package)
            print(f"{name}: {len(found)} files, {sum(found.values()):,} lines")
            for file, lines in found.items() if show else ():
                print(f"  {lines:4} {file}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
