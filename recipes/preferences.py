"""Preference pairs (DPO) on a fine-tuned run, by way of its Hugging Face export and `trl`.

gptpy export runs/c-chat -o exported
python recipes/preferences.py exported preferences.jsonl preferred      (pip install trl)
gptpy import preferred -o runs/c-preferred

Lines of `preferences.jsonl`: `prompt`, `chosen`, `rejected`. The prompt is written as the run's
chat template says; both answers end with end-of-text.
"""

import json
import sys
from pathlib import Path
from typing import Any


def load_pairs(path: Path, tokenizer: Any) -> list[dict[str, str]]:
    """The pairs as plain text: what stands before an answer, and two answers with their end."""
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        asked = [{"role": "user", "content": row["prompt"]}]
        prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        answers = {key: row[key] + tokenizer.eos_token for key in ("chosen", "rejected")}
        pairs.append({"prompt": prompt, **answers})
    return pairs


def main() -> None:
    """Train with `trl`'s DPOTrainer and save a folder that `gptpy import` reads."""
    if len(sys.argv) != 4:
        raise SystemExit("usage: python preferences.py EXPORTED PAIRS.jsonl OUT")
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    exported, pairs, out = map(Path, sys.argv[1:])
    tokenizer = AutoTokenizer.from_pretrained(exported)
    tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(exported)
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(
            output_dir=str(out / "trainer"),
            num_train_epochs=3,
            per_device_train_batch_size=8,
            learning_rate=5e-5,
            beta=0.1,
            logging_steps=5,
            save_strategy="no",
            report_to=[],
            bf16=torch.cuda.is_available(),
        ),
        train_dataset=Dataset.from_list(load_pairs(pairs, tokenizer)),
        processing_class=tokenizer,
    )
    trainer.train()
    for row in trainer.state.log_history:
        if "loss" in row:  # the last row holds sums over the run
            keys = ("loss", "rewards/accuracies", "rewards/margins")
            sys.stdout.write(", ".join(f"{key} {float(row[key]):.3f}" for key in keys) + "\n")
    trainer.save_model(str(out))
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main()
