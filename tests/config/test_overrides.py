"""Settings from the command line: typed by the setting, whatever the value looks like."""

import pytest

from gptpy.config.escapes import unescaped
from gptpy.config.run import RunConfig, with_overrides

LOOKS = ["2024", "true", "1e3", "null", "none", "-5", "[1, 2]", "{a = 1}", "2024-01-01", "0x1F"]
LOOKS += ["", " ", "runs/[red]/x", "[/b]", "'", '"', "# no comment", "a # b", '"a" # b']
LOOKS += ["C:\\new", "é 😀", "a=b"]


def config(*pairs: tuple[str, str]) -> RunConfig:
    return RunConfig.from_mapping(with_overrides({"lora": {}}, pairs))


@pytest.mark.parametrize("text", LOOKS)
def test_a_text_is_what_was_typed(text):
    found = config(("train.init", text), ("data.field", text), ("train.wandb", text))
    assert (found.train.init, found.data.field, found.train.wandb) == (text, text, text)


def test_a_text_in_quotes_is_what_is_inside():
    found = config(("train.sample_prompt", '"O \\"Romeo\\"\\n"'), ("train.init", "'2024'"))
    assert found.train.sample_prompt == 'O "Romeo"\n' and found.train.init == "2024"


def test_escapes_stand_for_what_they_mean_in_texts_that_are_no_paths():
    pairs = [("train.sample_prompt", r"a\n\tb\\n\d"), ("data.separator", r"\n\n")]
    found = config(*pairs, ("data.template.user", r"U: {content}\n"), ("train.init", r"C:\new"))
    assert found.train.sample_prompt == "a\n\tb\\n\\d" and found.data.separator == "\n\n"
    assert found.data.template.user == "U: {content}\n" and found.train.init == r"C:\new"
    assert unescaped(r"\r\n\0\\") == "\r\n\0\\"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("train.steps", "1e3", 1000),
        ("train.steps", "1_000", 1000),
        ("train.steps", "+7", 7),
        ("train.seed", "-5", -5),
        ("train.seed", "007", 7),
        ("train.seconds", ".5", 0.5),
        ("train.seconds", "5.", 5.0),
        ("train.optim.lr", "1E-3", 1e-3),
        ("train.optim.lr", "inf", float("inf")),
        ("train.keep_best", "False", False),
        ("train.keep_best", "true", True),
        ("train.sample_top_k", "null", None),
        ("train.optim.grad_clip", "none", None),
        ("model.window", "None", None),
        ("data.sources", "2024", ["2024"]),
        ("data.sources", "a[/b].txt", ["a[/b].txt"]),
        ("data.sources", "[red]", ["[red]"]),
        ("data.sources", '["a.txt", "2024"]', ["a.txt", "2024"]),
        ("lora.targets", "qkv", ["qkv"]),
        ("train.optim.name", "muon", "muon"),
    ],
)
def test_other_values(key, text, value):
    found = config((key, text))
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value and type(found) is type(value)


def test_a_setting_given_twice():
    found = config(("train.steps", "1"), ("data.sources", "a"), ("train.steps", "2"))
    assert found.train.steps == 2
    found = config(("data.sources", "a"), ("data.sources", '["b", "c"]'))
    assert found.data.sources == ["a", "b", "c"]
    given = with_overrides({"data": {"sources": ["x"]}}, [("data.sources", "a")])
    assert given["data"]["sources"] == ["a"], "those of the file are replaced"
