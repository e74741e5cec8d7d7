"""Configurations from and to TOML, and what they refuse."""

import pytest

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.files import parse_toml, read_toml, to_mapping, write_toml
from gptpy.config.run import RunConfig, with_overrides
from gptpy.config.training import ScheduleConfig, TrainConfig


def test_a_run_survives_the_way_through_toml():
    config = RunConfig(
        model=GPTConfig.preset("modern-1m", dropout=0.1),
        train=TrainConfig(steps=7, sample_prompt='a "quoted"\n\tline\x7f é', seconds=1.5),
    )
    assert RunConfig.from_mapping(parse_toml(config.to_toml())) == config


def test_toml_writer_agrees_with_the_parser():
    data = {
        "a": 1,
        "b": {"c": [1, 2.5, "x"], "d": {"e": True, "odd key": "\\ \u2028"}},
        "empty": {},
        "inf": float("inf"),
    }
    assert parse_toml(write_toml(data)) == data


def test_overrides_are_typed_and_reach_nested_tables():
    pairs = [
        ("train.steps", "1e3"),
        ("train.optim.name", "muon"),
        ("train.sample_prompt", "O Romeo"),
        ("model.n_layer", "3"),
    ]
    mapping = with_overrides({"model": {"preset": "gpt-mini"}}, pairs)
    config = RunConfig.from_mapping(mapping)
    assert config.train.steps == 1000 and config.train.optim.name == "muon"
    assert config.train.sample_prompt == "O Romeo"
    assert config.model == GPTConfig.preset("gpt-mini", n_layer=3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.stepz", "1", "unknown key train.stepz; did you mean train.steps"),
        ("trian.steps", "1", "unknown key trian; did you mean train"),
        ("train.steps", "soon", "train.steps must be an integer, got 'soon'"),
        ("train.steps", "0", "steps must be greater than 0"),
        ("train.steps", "true", "train.steps must be an integer, got true"),
        ("train.optim.name", "moun", "did you mean 'muon'"),
        ("train.optim", "muon", "train.optim must be a table"),
        ("train.schedule.floor", "2", "floor must lie in 0..1"),
        ("model.n_head", "5", "n_embd"),
        ("model.preset", "modern-2m", "no preset 'modern-2m'"),
        ("model.nlayer", "5", "unknown key model.nlayer; did you mean model.n_layer"),
        ("train.patience", "3", "eval_every"),
    ],
)
def test_mistakes_are_named(key: str, value: str, message: str):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        mapping = with_overrides({"model": {"preset": "modern-1m"}}, [(key, value)])
        RunConfig.from_mapping(mapping)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        read_toml(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        read_toml(tmp_path / "bad.toml")


def test_none_is_an_absent_key():
    assert "tokens" not in to_mapping(TrainConfig())
    assert to_mapping(ScheduleConfig())["kind"] == "cosine"
