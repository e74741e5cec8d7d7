"""Training and evaluation on a tiny random model: `trl` and `lm-eval`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.slow]


def test_trl_sft(
    transformers_pair: tuple[Any, Any], tiny_gpt2: Any, shakespeare: str, tmp_path: Path
) -> None:
    """`SFTTrainer` prepares the data, trains and reports the same losses."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    import copy

    texts = [text for text in shakespeare[:12_000].split("\n\n") if text]
    chats = [
        {
            "prompt": [{"role": "user", "content": a}],
            "completion": [{"role": "assistant", "content": b}],
        }
        for a, b in zip(texts[::2], texts[1::2], strict=False)
    ]

    def train(tokenizer: Any, rows: list[Any], name: str) -> tuple[list[Any], list[float]]:
        trainer = trl.SFTTrainer(
            model=copy.deepcopy(tiny_gpt2),
            processing_class=tokenizer,
            train_dataset=datasets.Dataset.from_list(rows),
            args=trl.SFTConfig(
                output_dir=str(tmp_path / name),
                max_steps=3,
                per_device_train_batch_size=4,
                logging_steps=1,
                max_length=64,
                report_to=[],
                save_strategy="no",
                use_cpu=True,
                bf16=False,
                seed=1,
            ),
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        trainer.save_model()
        return trainer.train_dataset.to_list(), losses

    for rows in ([{"text": text} for text in texts], chats):
        (their_rows, their_losses), (our_rows, our_losses) = (
            train(tokenizer, rows, name)
            for tokenizer, name in zip(transformers_pair, ("theirs", "ours"), strict=True)
        )
        # trl itself drops rows of which nothing is left to learn after truncation.
        assert our_rows == their_rows and len(our_rows) > 30
        assert len(our_losses) == 3 and all(math.isfinite(loss) for loss in our_losses)
        assert our_losses == pytest.approx(their_losses, rel=1e-5)
    saved = (tmp_path / "ours" / "tokenizer.json").read_text(encoding="utf-8")
    assert saved == (tmp_path / "theirs" / "tokenizer.json").read_text(encoding="utf-8")


def test_lm_eval(transformers_pair: tuple[Any, Any], tiny_gpt2: Any, shakespeare: str) -> None:
    """`HFLM` gives the same likelihoods and greedy continuations."""
    instance = pytest.importorskip("lm_eval.api.instance")
    models = pytest.importorskip("lm_eval.models.huggingface")

    lines = [line for line in shakespeare.splitlines() if len(line) > 20][:24]

    def requests(kind: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        return [
            instance.Instance(request_type=kind, doc={}, arguments=args, idx=index)
            for index, args in enumerate(arguments)
        ]

    def evaluate(tokenizer: Any) -> list[Any]:
        model = models.HFLM(
            pretrained=tiny_gpt2, tokenizer=tokenizer, backend="causal", device="cpu", batch_size=4
        )
        halves = [(line[: len(line) // 2], line[len(line) // 2 :]) for line in lines]
        settings = {"until": ["\n"], "max_gen_toks": 6, "do_sample": False}
        return [
            model.tok_encode(shakespeare[:3000]),
            model.loglikelihood(requests("loglikelihood", halves)),
            model.loglikelihood_rolling(requests("loglikelihood_rolling", [(shakespeare[:3000],)])),
            model.generate_until(
                requests("generate_until", [(line, settings) for line in lines[:4]])
            ),
        ]

    theirs, ours = (evaluate(tokenizer) for tokenizer in transformers_pair)
    assert ours[0] == theirs[0] and len(ours[0]) > 700
    for got, expected in zip(ours[1], theirs[1], strict=True):
        assert got == pytest.approx(expected)
    assert ours[2] == pytest.approx(theirs[2])
    assert ours[3] == theirs[3]
