"""`Trainer` and `Dataset` as a library: the run opens, the data set is one of torch."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import gptpy
from gptpy import GPT, Dataset, GPTConfig, TrainConfig, Trainer
from gptpy.cli import main
from gptpy.config import ConfigError
from gptpy.tokenizer import train_tokenizer

TEXT = "To be, or not to be, that is the question. " * 30
SHAPE: dict[str, Any] = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16}


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_the_run_of_a_trainer_opens_everywhere(tmp_path, capsys, with_tokenizer):
    tokenizer = train_tokenizer([TEXT], 280)
    ids = np.array(tokenizer.encode_ordinary(TEXT))
    run = tmp_path / "lib"
    model = GPT(GPTConfig(**SHAPE, vocab_size=tokenizer.n_vocab))
    data, config = Dataset([ids], 16), TrainConfig(steps=3, batch_size=4, compile="off")
    given: dict[str, Any] = {"tokenizer": tokenizer} if with_tokenizer else {}
    Trainer(model, data, config, run_dir=run, **given).fit()
    loaded = gptpy.load(run, device="cpu", dtype="float32")
    model.eval()
    x = torch.from_numpy(ids[None, :16])
    torch.testing.assert_close(loaded.model(x)[0], model(x)[0])
    prompt = "To be" if with_tokenizer else " ".join(map(str, ids[:3]))
    text = tmp_path / "held-out.txt"
    text.write_text(TEXT if with_tokenizer else " ".join(map(str, ids)))
    commands = [
        ["generate", str(run), "-p", prompt, "--tokens", "3"],
        ["eval", str(run), "--data", str(text)],
        ["info", str(run)],
        ["plot", str(run)],
    ]
    for command in commands:
        assert main(command) == 0, (command, capsys.readouterr().err)
    assert prompt in capsys.readouterr().out
    assert main(["eval", str(run)]) == 2
    assert "give --data" in capsys.readouterr().err
    export = ["export", str(run), "-o", str(tmp_path / "hf")]
    assert main(export) == (0 if with_tokenizer else 2)
    assert main([*export[:3], str(tmp_path / "bare"), "--no-tokenizer"]) == 0
    # It goes on, and keeps what it is
    again = GPT(GPTConfig(**SHAPE, vocab_size=tokenizer.n_vocab))
    more = TrainConfig(steps=5, batch_size=4, compile="off")
    assert Trainer(again, data, more, run_dir=run, resume=True).fit().step == 5
    assert gptpy.load(run, device="cpu").tokenizer.fingerprint == loaded.tokenizer.fingerprint


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    model = GPT(GPTConfig(**SHAPE, vocab_size=200))
    trainer = Trainer(
        model, Dataset([np.arange(100)], 16), TrainConfig(steps=1), run_dir=tmp_path / "run",
        tokenizer=train_tokenizer([TEXT], 280),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="tokenizer: expected at most 200 tokens"):
        trainer.fit()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_is_one_of_torch(workers):
    ids = np.arange(103, dtype=np.uint16)
    data = Dataset([ids[:40], ids[40:]], 10)
    assert isinstance(data, torch.utils.data.Dataset) and len(data) == 10 and data.n_ids == 103
    x, y = data[3]
    assert x.tolist() == list(range(30, 40)) and y.tolist() == list(range(31, 41))
    assert data[-1][0].tolist() == list(range(90, 100))
    assert [int(x[0]) for x, _ in data] == list(range(0, 100, 10))
    with pytest.raises(IndexError, match="window 10 of 10"):
        data[10]
    batches = list(DataLoader(data, batch_size=4, num_workers=workers))
    assert [tuple(x.shape) for x, _ in batches] == [(4, 10), (4, 10), (2, 10)]
    assert torch.cat([y for _, y in batches]).flatten().tolist() == list(range(1, 101))


def test_windows_with_documents_have_a_third_part():
    data = Dataset([np.array([1, 2, 0, 3, 4, 0, 5, 6, 7])], 4, end_of_text=0, document_mask=True)
    x, y, documents = data[0]
    assert (x.tolist(), y.tolist(), documents.tolist()) == (
        [1, 2, 0, 3],
        [2, 0, 3, 4],
        [0, 0, 1, 1],
    )
