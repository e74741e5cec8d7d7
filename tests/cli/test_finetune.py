"""`gptpy finetune`: instructions are learned, whole or by adapters, from many kinds of base run."""

import json
import math
from itertools import pairwise

import pytest
import torch

from gptpy.cli import main
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics
from gptpy.runs.opening import load
from gptpy.tokenizer import make_tokenizer

LETTERS = "abcdefgh"


def make_base(folder, tokenizer: str) -> None:
    """A run that has seen the letters that the instructions are written in."""
    (folder / "t.txt").write_text("User:\nAssistant:\n abcdefgh next of\n" * 200)
    rows = [{"prompt": f"next of {a}", "response": b} for a, b in pairwise(LETTERS)]
    (folder / "i.jsonl").write_text("\n".join(json.dumps(row) for row in rows * 12))
    options = {
        "model.n_layer": 2,
        "model.n_head": 2,
        "model.n_embd": 32,
        "model.block_size": 48,
        "train.steps": 40,
        "train.batch_size": 8,
        "train.optim.lr": 1e-2,
        "train.dtype": "float32",
        "train.compile": "off",
        "data.sources": json.dumps([str(folder / "t.txt")]),
        "data.tokenizer": tokenizer,
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    assert main(["train", "-o", str(folder / "base"), "--preset", "gpt2", *words]) == 0


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Characters: a base without an end-of-text token."""
    folder = tmp_path_factory.mktemp("characters")
    make_base(folder, "characters")
    return folder


@pytest.fixture(scope="module")
def bytes_base(tmp_path_factory):
    """Bytes, with an end-of-text token."""
    folder = tmp_path_factory.mktemp("bytes")
    make_base(folder, "bytes:270")
    return folder


@pytest.mark.parametrize("lora", [None, 4])
def test_loss_falls_on_instructions(bytes_base, tmp_path, capsys, lora):
    out = tmp_path / "run"
    words = ["finetune", str(bytes_base / "base"), str(bytes_base / "i.jsonl"), "-o", str(out)]
    words += [] if lora is None else ["--lora", str(lora)]
    options = {"epochs": 5, "dtype": "float32", "log_every": 1, "optim.lr": 1e-2, "batch_size": 8}
    words += [w for k, v in options.items() for w in (f"--train.{k}", str(v))]
    assert main([*words, "--data.validation", "0.5"]) == 0, capsys.readouterr()
    losses = [r["loss"] for r in read_metrics(out / "metrics.jsonl") if r["kind"] == "step"]
    assert losses[-1] < (0.9 if lora else 0.5) * losses[0] and math.isfinite(losses[-1])
    tensors = checkpoint.read_tensors(checkpoint.find(out), "model")
    before = checkpoint.read_tensors(checkpoint.find(bytes_base / "base"), "model")
    adapters = {name for name in tensors if "lora_" in name}
    moved = {name for name in before if not torch.equal(tensors[name], before[name])}
    assert (len(adapters), bool(moved)) == ((0, True) if lora is None else (2 * 2 * 4, False))
    loaded = load(out, device="cpu")
    assert loaded.model.state_dict().keys() == before.keys(), "dense again, for every other verb"
    assert main(["eval", str(out), "--json"]) == 0
    assert main(["generate", str(out), "-p", "next of a", "--tokens", "4"]) == 0
    assert main(["train", "--resume", "-o", str(out), "--train.epochs", "6"]) == 0
    # an export is what we compute, template included
    hf = tmp_path / "hf"
    assert main(["export", str(out), "-o", str(hf)]) == 0
    from transformers import AutoModelForCausalLM

    ids = torch.arange(24)[None]
    exported = AutoModelForCausalLM.from_pretrained(hf)(ids).logits
    with torch.no_grad():
        ours = load(out, device="cpu").model(ids)[0]
    torch.testing.assert_close(exported, ours, rtol=1e-4, atol=1e-5)
    about = json.loads((hf / "tokenizer_config.json").read_text())
    assert "Assistant:" in about["chat_template"]


def test_a_base_without_an_end_gets_one(base, tmp_path, capsys):
    before = checkpoint.read_tensors(checkpoint.find(base / "base"), "model")
    table = before["token_embedding.weight"]
    for lora in ([], ["--lora", "2"], ["--lora.rank", "2"]):
        out = tmp_path / "-".join(["run", *lora])
        words = ["finetune", str(base / "base"), str(base / "i.jsonl"), "-o", str(out), *lora]
        assert main([*words, "--train.steps", "2"]) == 0
        tensors = checkpoint.read_tensors(checkpoint.find(out), "model")
        grown = tensors["token_embedding.weight"]
        assert len(grown) == len(table) + 1
        assert not torch.equal(grown[-1], table.mean(0)), "the new token is trained"
        moved = {name for name in before if name in tensors and name != "token_embedding.weight"}
        moved = {name for name in moved if not torch.equal(tensors[name], before[name])}
        assert bool(moved) == (not lora)
        assert load(out, device="cpu").end_of_text == len(table)
        capsys.readouterr()
        assert main(["export", str(out), "-o", str(tmp_path / "hf")]) == 2
        assert "--no-tokenizer" in capsys.readouterr().err


def test_long_conversations_are_left_out_and_told(base, tmp_path, capsys):
    rows = [{"prompt": "abc", "response": "d" * n} for n in (2, 200, 3)]
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    words = ["finetune", str(base / "base"), str(path), "--train.steps", "1"]
    assert main([*words, "-o", str(tmp_path / "a"), "--data.validation", "0"]) == 0
    assert "1 of 3 conversations is longer than 48 tokens" in capsys.readouterr().out
    path.write_text(json.dumps(rows[1]))
    assert main([*words, "-o", str(tmp_path / "b"), "--data.validation", "0"]) == 2
    assert "nothing to learn from" in capsys.readouterr().err
    held = tmp_path / "held.jsonl"
    held.write_text(json.dumps(rows[1]))
    path.write_text(json.dumps(rows[0]))
    validates = ["--data.validation_sources", json.dumps([str(held)])]
    assert main([*words, "-o", str(tmp_path / "d"), *validates]) == 0
    assert "1 of 1 conversations are longer" in capsys.readouterr().out
    assert main(["finetune", str(base / "base"), "-o", str(tmp_path / "c")]) == 2
    assert "no instructions" in capsys.readouterr().err


def test_characters_that_the_base_never_saw_are_told(base, tmp_path, capsys):
    path = tmp_path / "i.jsonl"
    path.write_text(json.dumps({"prompt": "é", "response": "a"}))
    words = ["finetune", str(base / "base"), str(path), "-o", str(tmp_path / "run")]
    assert main(words) == 2
    assert "U+00E9" in capsys.readouterr().err
    assert make_tokenizer("characters", lambda: ["é"]).n_vocab == 1
