"""Recipe page c from end to end: training, instructions, export, `trl`, import."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(1800)]

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
# Shorter than on the page, and long enough that some answers are learned
SHORTER = {
    "train": ["--train.steps", "60", "--train.sample_every", "1000", "--train.eval_tokens", "2000"],
    "finetune": ["--train.epochs", "14"],
}


def commands() -> list[list[str]]:
    """The commands of the page that run on two cores, in order, as programs to start."""
    page = (RECIPES / "c-gpt2-block-by-block.md").read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"```\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            if program == "python":
                found.append([sys.executable, *arguments])
            else:
                assert program == "gptpy"
                shorter = SHORTER.get(arguments[0], [])
                found.append([sys.executable, "-m", "gptpy", *arguments, *shorter])
    return found


def answered(run: Path, rows: list[dict[str, str]]) -> int:
    """How many instructions the run answers exactly, greedily."""
    import gptpy
    from gptpy.inference.text import prepare_prompt, stream_text

    loaded = gptpy.load(run, device="cpu", dtype="float32")
    right = 0
    for row in rows:
        ids, _ = prepare_prompt(
            loaded.model, loaded.tokenizer, row["prompt"], loaded.config.data, loaded.end_of_text
        )
        pieces = stream_text(
            loaded.model, loaded.tokenizer, ids, 24, temperature=0, eos_id=loaded.ends
        )
        right += "".join(pieces) == row["response"]
    return right


def test_page_c_keeps_what_was_learned(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    (tmp_path / "recipes").symlink_to(RECIPES)
    environment: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in commands():
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    from gptpy.runs import checkpoint

    before, after = tmp_path / "runs" / "c-chat", tmp_path / "runs" / "c-preferred"
    taught, back = (checkpoint.read_config(run).data for run in (before, after))
    assert back.form == "chat" and back.template == taught.template
    lines = (tmp_path / "instructions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    learned, kept = answered(before, rows), answered(after, rows)
    assert learned >= 10, "the shortened training taught nothing to keep"
    # So short a training is fragile: about 0.7 are kept. With a wrong template none would be.
    assert kept >= 0.5 * learned


def test_the_courses_loss_is_trls(tmp_path: Path) -> None:
    """The DPO of the course's last chapter, read from its page, on two random models."""
    pytest.importorskip("trl")
    import torch
    import torch.nn.functional as F
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer  # pyright: ignore[reportMissingImports]

    import gptpy
    from gptpy.cli import main
    from gptpy.config.data import DataConfig
    from gptpy.config.run import RunConfig
    from gptpy.data.chat import chat_row, conversation_of
    from gptpy.runs import checkpoint
    from gptpy.tokenizer import save_tokenizer, train_tokenizer

    tokenizer = train_tokenizer(["Who are you? I am Romeo. User: Assistant: " * 20], 300)
    shape = gptpy.GPTConfig(
        vocab_size=tokenizer.n_vocab, block_size=64, n_layer=2, n_head=2, n_embd=32, init_std=0.3
    )
    for seed, name in enumerate(("policy", "reference")):
        torch.manual_seed(seed)
        weights = gptpy.build_model(shape).state_dict()
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.toml").write_text(
            RunConfig(model=shape, data=DataConfig(form="chat")).to_toml()
        )
        save_tokenizer(tokenizer, folder)
        checkpoint.save(folder, 0, tensors={"model": weights}, state={})
        assert main(["export", str(folder), "-o", str(tmp_path / f"{name}-hf")]) == 0
    examples = [("Who am I?", "I am Romeo.", "You."), ("Are you Romeo?", "I am.", "Romeo am you.")]
    named = [dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in examples]
    lines = tmp_path / "pairs.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in named))

    theirs = AutoTokenizer.from_pretrained(tmp_path / "policy-hf")
    theirs.pad_token = theirs.eos_token
    pairs = Dataset.from_list(
        runpy.run_path(str(RECIPES / "preferences.py"))["load_pairs"](lines, theirs)
    )
    models = [
        AutoModelForCausalLM.from_pretrained(tmp_path / f"{n}-hf") for n in ("policy", "reference")
    ]
    trainer = DPOTrainer(
        model=models[0],
        ref_model=models[1],
        args=DPOConfig(
            output_dir=str(tmp_path / "trainer"), beta=0.1, report_to=[], bf16=False, use_cpu=True
        ),
        train_dataset=pairs,
        eval_dataset=pairs,
        processing_class=theirs,
    )
    expected = trainer.evaluate()["eval_loss"]

    page = (RECIPES.parent / "docs" / "learn" / "09-assistant.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    policy, reference = (
        gptpy.load(tmp_path / name, device="cpu", dtype="float32")
        for name in ("policy", "reference")
    )
    course: dict[str, Any] = {
        "torch": torch,
        "F": F,
        "chat": policy,
        "chat_row": chat_row,
        "conversation_of": conversation_of,
    }
    exec(next(block for block in blocks if "def dpo(" in block), course)  # noqa: S102
    chosen, rejected = (
        course["batch_of"]([(row["prompt"], row[which]) for row in named])
        for which in ("chosen", "rejected")
    )
    loss, _ = course["dpo"](policy.model, reference.model, chosen, rejected, beta=0.1)
    assert abs(expected - 0.6931) > 0.02, "two random models must differ"
    assert loss.item() == pytest.approx(expected, abs=1e-4)
