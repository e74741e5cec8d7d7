"""Configurations from and to TOML, and the command line's values on top of them."""

import dataclasses
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.files import merged, parse_toml, read_toml, to_mapping
from gptpy.config.run import RunConfig, with_overrides
from gptpy.config.settings import nested_class
from gptpy.config.training import OptimConfig, ScheduleConfig, TrainConfig


def test_a_run_survives_a_round_trip_through_toml():
    config = RunConfig(
        model=GPTConfig.preset("modern-1m", dropout=0.1),
        train=TrainConfig(steps=7, sample_prompt='a "quoted"\n\tline\x7f é \u2028\\', seconds=1.5),
    )
    assert RunConfig.from_mapping(parse_toml(config.to_toml())) == config


def test_none_is_an_absent_key():
    assert "tokens" not in to_mapping(TrainConfig())
    assert to_mapping(ScheduleConfig())["kind"] == "cosine"
    text = RunConfig(train=TrainConfig(seconds=float("inf"))).to_toml()
    read = parse_toml(text)
    assert "lora" not in read and "tokens" not in read["train"]
    assert read["train"]["seconds"] == float("inf")


def test_overrides_are_typed_and_reach_nested_tables():
    pairs = [
        ("train.steps", "1e3"),
        ("train.optim.name", "muon"),
        ("train.sample_prompt", "O Romeo"),
        ("model.n_layer", "3"),
        ("data.sources", '["a.txt", "b.txt"]'),
    ]
    given = {"model": {"preset": "gpt-mini"}}
    config = RunConfig.from_mapping(with_overrides(given, pairs))
    assert config.train.steps == 1000 and config.train.optim.name == "muon"
    assert config.train.sample_prompt == "O Romeo" and config.data.sources == ["a.txt", "b.txt"]
    assert config.model == GPTConfig.preset("gpt-mini", n_layer=3)
    assert given == {"model": {"preset": "gpt-mini"}}, "what was given stays as it was"
    with pytest.raises(ConfigError, match=r"train\.steps is a value, not a table"):
        with_overrides({}, [("train.steps", "1"), ("train.steps.x", "1")])


def test_tables_are_merged_key_by_key():
    base = {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    assert merged(base, {"a": {"y": {"w": 4}}, "b": {}}) == {
        "a": {"x": 1, "y": {"z": 2, "w": 4}},
        "b": {},
    }
    assert base == {"a": {"x": 1, "y": {"z": 2}}, "b": 3}


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        read_toml(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        read_toml(tmp_path / "bad.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_toml(tmp_path / "binary.toml")


def test_none_survives_where_it_is_not_the_default():
    """TOML has no null: an absent key would mean the default again."""
    config = RunConfig.from_mapping(
        {
            "train": {
                "steps": 1,
                "sample_top_k": "none",
                "save_seconds": "none",
                "optim": {"grad_clip": "none"},
            }
        }
    )
    train = config.train
    assert (train.sample_top_k, train.save_seconds, train.optim.grad_clip) == (None,) * 3
    assert config.to_toml().count('"none"') == 3
    again = RunConfig.from_mapping(parse_toml(config.to_toml()))
    assert again == config
    library = RunConfig(train=TrainConfig(steps=1, optim=OptimConfig(grad_clip=None)))
    assert RunConfig.from_mapping(parse_toml(library.to_toml())) == library


def every_field(cls: type) -> Iterator[tuple[type, Any]]:
    for field in dataclasses.fields(cls):
        inner = nested_class(cls, field.name)
        if inner is None:
            yield cls, field
        else:
            yield from every_field(inner)


def test_every_setting_that_may_be_none_can_be_written():
    found = []
    for cls, field in every_field(RunConfig):
        options = TypeAdapter(cls).json_schema()["properties"][field.name].get("anyOf", ())
        if {"type": "null"} in options and field.default is not None:
            hint = get_type_hints(cls, include_extras=True)[field.name]
            assert TypeAdapter(hint).validate_python("none") is None, field.name
            found.append(field.name)
    assert found == ["sample_top_k", "save_seconds", "grad_clip"]
