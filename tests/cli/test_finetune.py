"""Fine-tuning: replies are learned, only adapters move, and merging them changes nothing."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from gptpy.cli import main
from gptpy.config import ConfigError, GPTConfig
from gptpy.config.data import TemplateConfig
from gptpy.config.lora import LoraConfig
from gptpy.data import DataError
from gptpy.data.chat import (
    Message,
    chat_row,
    conversation_of,
    jinja_template,
    request_segments,
    segment_ids,
)
from gptpy.data.dataset import IGNORE
from gptpy.model import build_model
from gptpy.model.lora import LoraLinear, add_adapters, merge_adapters
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics
from gptpy.runs.opening import load
from gptpy.tokenizer import make_tokenizer, open_tokenizer

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "vocab_size": 40,
    "block_size": 32,
}
TALK = [
    Message("system", "Be short."),
    Message("user", "Two colours?"),
    Message("assistant", "red, blue"),
    Message("user", "One more <|endoftext|>"),
    Message("assistant", "green"),
]


def test_masked_targets_are_exactly_the_prompts():
    tokenizer = open_tokenizer("gpt2")
    end = 50256
    row = chat_row(TALK, tokenizer, TemplateConfig(), end)
    scored = row.targets != IGNORE
    assert tokenizer.decode(row.targets[scored].tolist()) == (
        "red, blue<|endoftext|>green<|endoftext|>"
    )
    # everything else, in order, is what the template writes around the replies
    following = [*row.inputs[1:].tolist(), end]
    assert all(t == f for t, f, s in zip(row.targets, following, scored, strict=True) if s)
    hidden = [i for i, s in zip(following, scored, strict=True) if not s]
    assert tokenizer.decode(hidden) == (
        "Be short.\n\nUser:\nTwo colours?\n\nAssistant:\nUser:\nOne more <|endoftext|>\n\n"
        "Assistant:\n"
    )
    assert hidden.count(end) == 0, "what a user writes is never the token that ends a text"
    # generation begins with the very ids that training put before the last reply
    asked = segment_ids(request_segments(TALK[:-1], TemplateConfig()), tokenizer, end)
    assert row.inputs.tolist()[: len(asked)] == asked


@pytest.mark.parametrize(
    ("row", "roles"),
    [
        ({"prompt": "a", "response": "b"}, "user assistant"),
        ({"prompt": "a", "completion": "b"}, "user assistant"),
        ({"instruction": "a", "input": "x", "output": "b"}, "user assistant"),
        ({"messages": [{"role": m.role, "content": m.content} for m in TALK]}, None),
    ],
)
def test_known_forms(row, roles):
    found = conversation_of(row, "here")
    assert (found == TALK) if roles is None else ([m.role for m in found] == roles.split())
    if "input" in row:
        assert found[0].content == "a\n\nx"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a"}, r"here: expected messages.*found keys \['prompt'\]"),
        ([1], "found list"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "role must be"),
        ({"messages": [{"role": "user", "content": "a"}]}, "no reply"),
        ({"messages": [{"role": "user", "content": 1}]}, "expected messages"),
        ({"messages": []}, "expected messages"),
    ],
)
def test_what_is_no_conversation(row, message):
    with pytest.raises(DataError, match=message):
        conversation_of(row, "here")


def test_template_must_have_a_place_for_the_text():
    with pytest.raises(ValueError, match=r"user must hold \{content\} once"):
        TemplateConfig(user="User:")


def test_transformers_writes_the_same_conversation():
    from transformers.utils.chat_template_utils import render_jinja_template

    template = TemplateConfig(user="It's {content}\\n\n", assistant="A:\n{content}\n")
    end = "<|endoftext|>"
    jinja = jinja_template(template, end)
    talk = [{"role": m.role, "content": m.content} for m in TALK if "<|" not in m.content]
    ours = [Message(m["role"], m["content"]) for m in talk]
    tokenizer = open_tokenizer("gpt2")
    for asked in (False, True):
        rendered, _ = render_jinja_template(
            [talk], chat_template=jinja, add_generation_prompt=asked
        )
        if asked:
            ids = segment_ids(request_segments(ours, template), tokenizer, 50256)
        else:
            row = chat_row(ours, tokenizer, template, 50256)
            ids = [*row.inputs.tolist(), 198]  # the last id is only a target
        assert rendered[0] == tokenizer.decode(ids)


@pytest.mark.parametrize("preset", ["gpt2", "modern-1m"])
def test_only_adapters_train_and_merging_keeps_the_logits(preset):
    torch.manual_seed(0)
    settings = {"n_kv_head": 2, "init_head": "normal", "init_residual": "normal"}
    model = build_model(GPTConfig.preset(preset, **SHAPE, **(settings if preset != "gpt2" else {})))
    ids = torch.randint(40, (4, 32), generator=torch.Generator().manual_seed(1))
    before = model(ids)[0]
    frozen = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = add_adapters(model, LoraConfig(rank=4, alpha=8))
    assert len(names) == 2 * 4
    torch.testing.assert_close(model(ids)[0], before)  # B is zero
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[2] for name in trainable} == {"lora_a", "lora_b"}
    grouped = [n for g in model.configure_parameter_groups() for n in g["param_names"]]
    assert sorted(grouped) == sorted(trainable)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(5):
        model(ids, ids.roll(-1, 1))[1].backward()
        optimizer.step()
        optimizer.zero_grad()
    after = model(ids)[0].detach()
    assert (after - before).abs().max() > 1e-3
    for name, tensor in frozen.items():
        assert torch.equal(model.state_dict()[name], tensor), f"{name} has moved"
    merge_adapters(model)
    assert not any(isinstance(m, LoraLinear) for m in model.modules())
    assert model.state_dict().keys() == frozen.keys()
    torch.testing.assert_close(model(ids)[0].detach(), after, rtol=1e-5, atol=1e-5)
    assert all(p.requires_grad for p in model.parameters())


def test_adapters_need_layers():
    with pytest.raises(ConfigError, match="none of the layers kv"):
        add_adapters(build_model(GPTConfig(**SHAPE)), LoraConfig(targets=["kv"]))
    with pytest.raises(ConfigError, match=r"targets\[0\]: expected one of qkv, .*, got 'head'"):
        LoraConfig(targets=["head"])  # type: ignore[list-item]


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
    assert "1 of 3 conversations are longer than 48 tokens" in capsys.readouterr().out
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
