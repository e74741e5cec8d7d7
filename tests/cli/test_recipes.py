"""Every recipe loads and fits together; the reduced ones train, are scored and drawn."""

import json
import math
import os
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from gptpy.cli import main
from gptpy.config.files import read_toml
from gptpy.config.run import RunConfig
from gptpy.data import material
from gptpy.data.text import Text, python_prose
from gptpy.model import build_model

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
TRAINED = sorted(p for p in RECIPES.glob("*.toml") if not p.stem.startswith("c-instructions"))
SMALL = [p for p in TRAINED if p.stem.endswith("-small") or p.stem == "b-bigram"]
FULL = [p for p in TRAINED if p not in SMALL]
QUICK: dict[str, float] = {
    "train.steps": 3,
    "train.batch_size": 4,
    "train.micro_batch_size": 2,
    "train.sample_tokens": 4,
    "train.sample_every": 3,
    "train.seconds": 60,
}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_recipes_are_valid(path):
    config = RunConfig.from_mapping(read_toml(path))
    assert config.train.has_end
    with torch.device("meta"):
        assert build_model(config.model).num_parameters() > 0
    assert path.stem.endswith("-small") or f"{path.stem}-small.toml" in {
        p.name for p in RECIPES.iterdir()
    } | {"b-bigram-small.toml"}, "a full-size recipe has a reduced one"


def test_recipes_have_pages_that_name_them():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in RECIPES.glob("*.md"))
    for path in RECIPES.glob("*.toml"):
        assert f"recipes/{path.name}" in pages
    for name in re.findall(r"recipes/[\w-]+\.(?:toml|py)", pages):
        assert (RECIPES.parent / name).is_file(), f"{name} is named in a page"


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Small texts under the names that the recipes know, so that no file of ours is needed."""
    prose = python_prose()[:60_000]
    monkeypatch.setattr(material, "default_text", lambda: Text(prose, "Python's prose"))
    folder = tmp_path / "texts"
    folder.mkdir()
    lines = prose[:20_000].decode("utf-8").replace("\n\n", "\n \n")
    for name in ("wikitext2-valid.txt", "wikitext2-test.txt"):
        (folder / name).write_text(lines, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["number_words.py", str(folder / "numbers.jsonl"), "300"])
    runpy.run_path(str(RECIPES / "number_words.py"), run_name="__main__")
    monkeypatch.setenv("GPTPY_DATA_DIR", str(folder))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", SMALL, ids=lambda p: p.stem)
def test_reduced_recipes_train(path, texts, capsys):
    config = RunConfig.from_mapping(read_toml(path))
    quick = dict(QUICK)
    if config.model.architecture == "encoder":
        del quick["train.sample_every"]
    key = "eval_epochs" if config.train.eval_epochs else "eval_every"
    quick[f"train.{key}"] = 0.02 if config.train.eval_epochs else 3
    options = [word for name, value in quick.items() for word in (f"--{name}", str(value))]
    assert main(["train", str(path), "-o", "run", *options]) == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["steps"] == 3 and summary["val_loss"] > 0
    assert main(["eval", "run", "--json"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["tokens"] == summary["val_tokens"] or "accuracy" in row
    pairs = config.data.form == "pairs"
    if config.model.architecture != "encoder":
        prompt = "seven" if pairs else "The"
        assert main(["generate", "run", "-p", prompt, "--tokens", "3", "--temperature", "0"]) == 0
        assert "--- step 3" in Path("run/samples.txt").read_text()
    assert main(["plot", "run"]) == 0
    drawn = {p.stem for p in Path("run/plots").iterdir()}
    expected = {"loss", "schedule", "neighbours", "embedding"}
    if config.model.architecture != "bigram":
        expected |= {"positions", "attention", "attention-head"}
    expected |= {"attention-decoder", "attention-encoder"} if pairs else set()
    assert drawn == expected
    assert main(["report", "run"]) == 0
    page = Path("run/report.html").read_text(encoding="utf-8")
    tables = expected & {"schedule", "positions", "neighbours", "embedding"}
    assert page.count("data:image/svg+xml;base64,") == len(tables)
    # a run directory goes on by itself, and is the run that it was
    assert main(["train", "--resume", "-o", "run", "--train.steps", "4"]) == 0
    assert "resumed" in capsys.readouterr().out


# What a full-size recipe downloads or has made beforehand, by what the fixture `texts` holds
ELSEWHERE = {
    "a-encoder-decoder": {"data.sources": '["numbers.jsonl"]'},
    "d-wikitext": {
        "data.sources": '["wikitext2-valid.txt"]',
        "data.validation_sources": '["wikitext2-test.txt"]',
    },
}


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("GPTPY_RECIPES") != "full", reason="models at full size: GPTPY_RECIPES=full"
)
@pytest.mark.parametrize("path", FULL, ids=lambda p: p.stem)
def test_full_size_recipes_take_a_step(path, texts):
    quick = {"train.steps": 1, "train.batch_size": 2, "train.micro_batch_size": 1}
    quick |= ELSEWHERE.get(path.stem, {})
    options = [word for name, value in quick.items() for word in (f"--{name}", str(value))]
    assert main(["train", str(path), "-o", "run", *options]) == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["steps"] == 1 and math.isfinite(summary["val_loss"])
    if path.stem == "c-gpt2":  # what the instructions are taught to
        Path("say.jsonl").write_text('{"prompt": "Say yes.", "response": "Yes."}\n' * 20)
        recipe = str(RECIPES / "c-instructions.toml")
        command = ["finetune", "run", "say.jsonl", "--config", recipe, "-o", "chat"]
        assert main([*command, "--data.validation", "0", *options]) == 0


def test_a_recipe_takes_other_data(texts, tmp_path):
    """What a recipe says of its own sources must not reach a prepared folder."""
    (tmp_path / "t.txt").write_bytes(python_prose()[:30_000])
    assert main(["prepare", "t.txt", "--tokenizer", "gpt2", "-o", "data"]) == 0
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[data]\nsources = ["wikitext2-valid.txt"]\nvalidation_sources = ["wikitext2-test.txt"]\n'
        'tokenizer = "characters"\n[model]\nn_layer = 1\nn_head = 1\nn_embd = 8\n'
        'block_size = 16\n[train]\nsteps = 2\nbatch_size = 2\ncompile = "off"\n'
    )
    assert main(["train", "data", "--config", str(recipe), "-o", "run"]) == 0
    config = RunConfig.from_mapping(read_toml("run/config.toml"))
    assert config.model.vocab_size == 50257 and not config.data.validation_sources
    assert not Path("run/data").exists()


def test_number_words():
    words = runpy.run_path(str(RECIPES / "number_words.py"))["words"]
    assert [words(n) for n in (0, 13, 40, 407, 1000, 9012, 21_345)] == [
        "zero",
        "thirteen",
        "forty",
        "four hundred and seven",
        "one thousand",
        "nine thousand and twelve",
        "twenty-one thousand three hundred and forty-five",
    ]
