"""Initial weights: token embeddings that are filled in, kept, frozen."""

from typing import Any

import pytest
import torch

from gptpy.cli import main
from gptpy.config import ConfigError, GPTConfig
from gptpy.interop import export_huggingface
from gptpy.model import build_model
from gptpy.runs import checkpoint
from gptpy.tokenizer import make_tokenizer
from gptpy.train.initial import load_embeddings

SHAPE: dict[str, Any] = {"n_layer": 1, "n_head": 2, "n_embd": 4, "block_size": 16}


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer("words:50", lambda: ["king King queen of of of land land"])


def test_word_vectors_are_found_by_text(tokenizer, tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("3 4\nking 1 2 3 4\nnowhere 9 9 9 9\nof -1 -1 1 1\n")
    torch.manual_seed(0)
    model = build_model(GPTConfig(vocab_size=tokenizer.n_vocab, **SHAPE))
    before = model.get_parameter("token_embedding.weight").detach().clone()
    texts = [tokenizer.decode([i]).strip() for i in range(tokenizer.n_vocab)]
    expected = {i for i, text in enumerate(texts) if text.lower() in ("king", "of")}
    assert load_embeddings(model, tokenizer, path) == len(expected) >= 2
    after = model.get_parameter("token_embedding.weight").detach()
    moved = {i for i in range(len(texts)) if not torch.equal(before[i], after[i])}
    assert moved == expected
    king = after[next(i for i in expected if texts[i].lower() == "king")]
    torch.testing.assert_close(king / king.norm(), torch.tensor([1.0, 2, 3, 4]) / 30**0.5)
    size = [t[sorted(expected)].square().mean() for t in (before, after)]
    torch.testing.assert_close(size[1], size[0])


def test_a_folder_gives_all_of_its_table(tokenizer, tmp_path):
    base = build_model(GPTConfig(vocab_size=tokenizer.n_vocab, **SHAPE))
    folder = export_huggingface(base, tmp_path / "hf")
    model = build_model(GPTConfig(vocab_size=tokenizer.n_vocab, **SHAPE))
    assert load_embeddings(model, tokenizer, folder) == tokenizer.n_vocab
    ours, theirs = (m.get_parameter("token_embedding.weight") for m in (model, base))
    assert torch.equal(ours, theirs)
    wider = build_model(GPTConfig(vocab_size=tokenizer.n_vocab, **{**SHAPE, "n_embd": 8}))
    with pytest.raises(ConfigError, match="same tokenizer and width"):
        load_embeddings(wider, tokenizer, folder)


def test_vectors_that_do_not_fit_are_refused(tokenizer, tmp_path):
    model = build_model(GPTConfig(vocab_size=tokenizer.n_vocab, **SHAPE))
    for text, message in [
        ("king 1 2 3\n", r"line 1: 3 numbers, model.n_embd is 4"),
        ("king 1 2 3 four\n", "line 1: could not convert"),
        ("nowhere 1 2 3 4\n", "no word that is a token"),
    ]:
        (tmp_path / "v.txt").write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_embeddings(model, tokenizer, tmp_path / "v.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_embeddings(model, tokenizer, tmp_path / "missing.txt")


def test_frozen_embeddings_stay(tmp_path):
    (tmp_path / "t.txt").write_text("king of the land " * 50)
    (tmp_path / "v.txt").write_text("king 1 2 3 4\nland 4 3 2 1\n")
    run = tmp_path / "run"
    options = {
        "data.sources": f'["{tmp_path / "t.txt"}"]',
        "data.tokenizer": "words:50",
        **{f"model.{key}": value for key, value in SHAPE.items()},
        "train.steps": 3,
        "train.batch_size": 2,
        "train.compile": "off",
        "train.embeddings": str(tmp_path / "v.txt"),
        "train.freeze_embeddings": "true",
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    assert main(["train", "-o", str(run), *words, "--train.save_every", "1"]) == 0
    tables = [checkpoint.read_tensors(checkpoint.find(run, step), "model") for step in (2, 3)]
    name = "token_embedding.weight"
    assert torch.equal(tables[0][name], tables[1][name])
    other = "blocks.0.mlp.up.weight"
    assert not torch.equal(tables[0][other], tables[1][other])
