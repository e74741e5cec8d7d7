"""`--help`: an example and a meaning for everything, and every setting that there is."""

import argparse
import re
from collections.abc import Iterator

import pytest

from gptpy.cli import _parser, main
from gptpy.config.run import settings


def verbs(parser: argparse.ArgumentParser, *names: str) -> Iterator[tuple[str, ...]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield (*names, name)
                yield from verbs(inner, *names, name)


VERBS = list(verbs(_parser()))
WITH_SETTINGS = [("quickstart",), ("train",), ("finetune",)]


def shown_help(capsys, *verb: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*verb, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_the_verbs_are_found():
    assert ("train",) in VERBS and ("tokenizer", "compare") in VERBS and len(VERBS) >= 16


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_has_an_example_and_explains_every_option(verb, capsys):
    shown = shown_help(capsys, *verb)
    assert f"gptpy {' '.join(verb)}" in shown.split("example:")[1]
    parser = _parser()
    for name in verb:
        inner = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = inner.choices[name]
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            assert action.help, f"{action.dest} has no meaning"


@pytest.mark.parametrize("verb", WITH_SETTINGS, ids=" ".join)
def test_help_lists_every_setting_on_about_a_line(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    shown = shown_help(capsys, *verb)
    listing = shown.split("Settings, as options")[1]
    names = re.findall(r"^  --(\S+) [A-Z]+\b", listing, re.MULTILINE)
    assert names == [key.name for section in settings() for key in section.keys]
    assert len(re.findall(r"default:\s", listing)) == len(names)
    assert len(shown.splitlines()) < 1.3 * len(names) + 40
    for section in settings():
        assert f"[{section.name}] {section.meaning}:" in shown


def test_defaults_of_a_verb_of_its_own(capsys):
    shown = " ".join(shown_help(capsys, "finetune").split())
    assert "--train.epochs FLOAT Most passes over the data (default: 3)" in shown
    assert "--train.optim.lr FLOAT Learning rate of AdamW (default: 5e-05)" in shown
    assert "--train.steps INT Most steps (default: no limit)" in shown
