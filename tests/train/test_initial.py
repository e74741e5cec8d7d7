"""Initial weights: token embeddings that are filled in, kept, frozen."""

from typing import Any

import pytest
import torch

from gptpy.cli import main
from gptpy.config import ConfigError, GPTConfig
from gptpy.interop import export_huggingface
from gptpy.model import build_model
from gptpy.runs import checkpoint
from gptpy.runs.opening import load
from gptpy.tokenizer import make_tokenizer, train_tokenizer
from gptpy.train.initial import _same_ids, load_embeddings

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


def made_run(folder, tokenizer: str, text: str, **more: Any) -> list[str]:
    """A run of one step, and the options it was made with."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.txt").write_text(text)
    options = {
        "data.sources": f'["{folder / "t.txt"}"]',
        "data.tokenizer": tokenizer,
        "model.position": "rope",
        **{f"model.{key}": value for key, value in SHAPE.items()},
        "train.steps": 1,
        "train.batch_size": 2,
        "train.compile": "off",
        "train.dtype": "float32",
        **more,
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    assert main(["train", "-o", str(folder / "run"), *words]) == 0
    return words


def test_weights_of_a_run_whose_ids_mean_other_texts_are_refused(tmp_path, capsys):
    one, two = "the quick brown fox " * 60, "a lazy dog sleeps, jumps " * 60
    made_run(tmp_path / "one", "bytes:264", one)
    words = made_run(tmp_path / "two", "bytes:264", two)
    init = ["train", "-o", str(tmp_path / "new"), *words, "--train.init", str(tmp_path / "one/run")]
    capsys.readouterr()
    assert main(init) == 2
    error = capsys.readouterr().err
    assert "its ids mean other texts" in error and "train.remap_embeddings" in error
    assert main([*init, "--train.remap_embeddings", "true", "--train.optim.lr", "1e-9"]) == 0
    assert "tokens by their text" in capsys.readouterr().out
    here, there = (load(tmp_path / name, dtype="float32") for name in ("new", "one/run"))
    tables = [m.model.get_parameter("token_embedding.weight").detach() for m in (here, there)]
    by_text = {there.tokenizer.decode_bytes([i]): i for i in range(there.tokenizer.n_vocab)}
    texts = [here.tokenizer.decode_bytes([i]) for i in range(here.tokenizer.n_vocab)]
    assert any(text not in by_text for text in texts)
    for token, text in enumerate(texts):
        row = tables[1][by_text[text]] if text in by_text else tables[1].mean(0)
        torch.testing.assert_close(tables[0][token], row, atol=1e-5, rtol=0)


def test_weights_of_a_network_with_another_function_are_refused(tmp_path, capsys):
    words = made_run(tmp_path / "one", "bytes:264", "the quick brown fox " * 60)
    init = ["train", "-o", str(tmp_path / "new"), *words, "--train.init", str(tmp_path / "one/run")]
    capsys.readouterr()
    for key, value in (("rope_theta", "500"), ("n_head", "1"), ("position", "alibi")):
        assert main([*init, f"--model.{key}", value]) == 2
        error = capsys.readouterr().err
        assert f"model.{key} is" in error and "train.init_changes" in error
    changed = ["--model.rope_theta", "500", "--train.init_changes", '["rope_theta"]']
    assert main([*init, *changed]) == 0
    assert "weights of" in capsys.readouterr().out
    assert main(["train", "--resume", "-o", str(tmp_path / "new"), "--train.steps", "2"]) == 0


def test_a_vocabulary_that_grew_keeps_its_ids(tokenizer):
    class Grown:
        fingerprint, n_vocab = "other", tokenizer.n_vocab + 1

        def decode_bytes(self, tokens):
            known = tokens[0] < tokenizer.n_vocab
            return tokenizer.decode_bytes(tokens) if known else b"new"

    grown: Any = Grown()
    assert _same_ids(tokenizer, grown) and not _same_ids(grown, tokenizer)


def test_embeddings_of_a_run_with_another_tokenizer_are_taken_by_text(tmp_path):
    made_run(tmp_path, "bytes:264", "the quick brown fox " * 60)
    base = load(tmp_path / "run", dtype="float32")
    other = train_tokenizer(["a lazy dog sleeps, jumps " * 60], 264)
    model = build_model(GPTConfig(vocab_size=264, **SHAPE))
    before = model.get_parameter("token_embedding.weight").detach().clone()
    found = load_embeddings(model, other, tmp_path / "run")
    after = model.get_parameter("token_embedding.weight").detach()
    table = base.model.get_parameter("token_embedding.weight").detach()
    by_text = {base.tokenizer.decode_bytes([i]): i for i in range(base.tokenizer.n_vocab)}
    texts = [other.decode_bytes([i]) for i in range(other.n_vocab)]
    assert 256 <= found == sum(text in by_text for text in texts) < 264
    for token, text in enumerate(texts):
        expected = table[by_text[text]] if text in by_text else before[token]
        assert torch.equal(after[token], expected)


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
