"""The list of all settings, which `--help` shows."""

import dataclasses
from collections.abc import Iterator

from gptpy.config.command_line import as_written, sections
from gptpy.config.data import TemplateConfig
from gptpy.config.run import RunConfig, settings


def test_every_field_of_the_settings_has_a_type_a_meaning_and_a_default():
    """Fields are read from the classes here, so that none can be missing from the list."""
    listed = {key.name: key for section in settings() for key in section.keys}

    def check(config: object, prefix: str = "") -> Iterator[str]:
        for field in dataclasses.fields(config):  # type: ignore[arg-type]
            value = getattr(config, field.name)
            if dataclasses.is_dataclass(value):
                yield from check(value, f"{prefix}{field.name}.")
                continue
            key = listed[f"{prefix}{field.name}"]
            assert key.type in ("INT", "FLOAT", "BOOL", "TEXT", "LIST", "NAME")
            assert len(key.meaning) > 5 and not key.meaning.endswith("."), key
            assert key.default == value
            assert (value is None) == ("(default: " in key.meaning), key
            if key.type == "NAME":
                assert value in key.choices
            yield key.name

    run = RunConfig.from_mapping({"lora": {}})
    found = list(check(run))
    assert sorted([*found, "model.preset"]) == sorted(listed)


def test_settings_are_listed_by_section():
    found = list(sections(RunConfig))
    assert [section.name for section in found] == [
        "model",
        "train",
        "train.optim",
        "train.schedule",
        "data",
        "data.template",
        "lora",
    ]
    template = next(section for section in found if section.name == "data.template")
    assert [key.name.split(".")[-1] for key in template.keys] == [
        field.name for field in dataclasses.fields(TemplateConfig)
    ]
    for section in found:
        assert section.meaning and all(key.name.startswith(section.name) for key in section.keys)


def test_defaults_are_shown_as_they_are_written():
    assert [as_written(value) for value in ("adamw", "", "\n", True, 1e-3, ["a"])] == [
        "adamw",
        '""',
        '"\\n"',
        "true",
        "0.001",
        '["a"]',
    ]
