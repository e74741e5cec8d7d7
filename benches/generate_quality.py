"""What fewer bits cost: bits per byte of a trained model in every number type of generation."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("GPTPY_SHARED", Path(__file__).parent.parent.parent / "shared"))
TEXT = SHARED / "data" / "tinyshakespeare.txt"
HELD_OUT = 100_000
WINDOW, TOGETHER = 256, 8
STEPS = 400
"""Of training: a number that a busy machine reaches, too."""


def measure(folder: Path, size: int) -> dict[str, Any]:
    """Bits per byte of `size` bytes that a small trained model has not seen, by number type."""
    from gptpy.runs.opening import load

    loaded = load(trained(folder), device="cpu", dtype="float32")
    text = TEXT.read_bytes()[-HELD_OUT:][:size].decode(errors="replace")
    ids = loaded.tokenizer.encode_ordinary(text)
    found = {
        number_type: bits_per_byte(loaded.model, number_type, ids, len(text.encode()))
        for number_type in ("float32", "bfloat16", "float16", "int8")
    }
    exact = found["float32"]
    return {
        "model": f"{loaded.model.num_parameters():,} parameters, trained for {STEPS} steps",
        "bits per byte": {name: round(bits, 5) for name, bits in found.items()},
        "loss %": {name: round(100 * (bits / exact - 1), 3) for name, bits in found.items()},
    }


def trained(folder: Path) -> Path:
    """The run of a small model trained on the text without its end; made if it is not there."""
    run = folder / "trained"
    if not (run / "checkpoints").exists():
        part = folder / "training.txt"
        part.write_bytes(TEXT.read_bytes()[:-HELD_OUT])
        command = [sys.executable, "-m", "gptpy", "quickstart", str(part), "-o", str(run)]
        done = subprocess.run(
            [*command, "--seconds", "900", "--train.steps", str(STEPS)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"error: quickstart: {done.stderr}")
    return run


def bits_per_byte(model: Any, number_type: str, ids: list[int], size: int) -> float:
    """Of `ids`, by the engine's own pass, a few tokens at a time as when it generates."""
    import torch

    from gptpy.inference.runner import Runner
    from gptpy.model.paged import Chunk

    runner = Runner(model, number_type, exact=False)
    window = min(WINDOW, runner.config.block_size)
    texts = [ids[at : at + window + 1] for at in range(0, len(ids) - 1, window)]
    texts = [text for text in texts if len(text) > 1]
    per_text = -(-window // runner.block_tokens)
    nats, count = 0.0, 0
    for at in range(0, len(texts), TOGETHER):
        group = texts[at : at + TOGETHER]
        tables = [runner.pool.take(per_text) for _ in group]
        for place in range(max(map(len, group)) - 1):
            members = [n for n, text in enumerate(group) if place < len(text) - 1]
            chunks = [
                Chunk([group[n][place]], place, tables[n][: place // runner.block_tokens + 1])
                for n in members
            ]
            logprobs = runner.logits(chunks, [1] * len(chunks)).log_softmax(-1)
            targets = torch.tensor([group[n][place + 1] for n in members])
            nats -= float(logprobs.gather(1, targets[:, None]).sum())
            count += len(members)
        for table in tables:
            runner.pool.release(table)
    return nats / math.log(2) / size
