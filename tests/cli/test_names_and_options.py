"""What a user typed is taken and shown as it is: paths, settings, options that there are not."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from gptpy.cli import _parser, main
from gptpy.cli.errors import one_line
from gptpy.cli.show import Live, table
from gptpy.config.run import RunConfig
from gptpy.data.prepared import open_prepared
from gptpy.tokenizer import open_tokenizer

NAMES = ["a[/b]", "[red]x", "[bold]", ":smile:", "[link=x]y", "a  b", "2024", "é 😀", "100%"]
TINY = "--model.n_layer 1 --model.n_head 1 --model.n_kv_head 1 --model.n_embd 8"
TINY += " --model.block_size 8 --train.batch_size 2 --train.compile off --train.steps 1"


def failure(capsys, *words: object) -> str:
    try:
        code = main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and error.startswith("gptpy: error: "), error
    return error


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(name):
    for terminal in (False, True):
        shown = io.StringIO()
        console = Console(file=shown, width=200, highlight=False, force_terminal=terminal)
        table(f"runs/{name}", [(name, f"runs/{name}/")], console)
        with Live(console) as live:
            live.on_message(f"from {name}")
        text = shown.getvalue()
        assert text.count(name) == 4 and f"runs/{name}/" in text


@pytest.mark.skipif(os.name != "posix", reason="names and pipes as POSIX has them")
def test_every_verb_takes_any_path(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("a[/b]").mkdir(parents=True)
    text, tok, data, run = (f"a[/b]/{end}" for end in ("t.txt", "2024.json", "[red]d", ":x:"))
    Path(text).write_text("some words of a text. " * 60)
    commands = [
        ["tokenizer", "train", text, "--vocab-size", "270", "-o", tok],
        ["tokenizer", "info", tok, "--file", text],
        ["tokenizer", "compare", tok, "gpt2", "--text", text],
        ["prepare", text, "--tokenizer", tok, "-o", data],
        ["train", data, "--preset", "modern-1m", "-o", run, *TINY.split()],
        ["info", data],
        ["info", run],
        ["eval", run, "--data", text],
        ["generate", run, "--tokens", "1"],
    ]
    for words in commands:
        assert main(words) == 0, words
    shown = capsys.readouterr().out
    for path in (text, tok, data, run):
        assert path in shown


def test_settings_are_typed_by_every_verb_that_takes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = []

    def run_training(mapping, *_, **options):
        begun.append(RunConfig.from_mapping(mapping))
        return None, None

    monkeypatch.setattr("gptpy.train.run.run_training", run_training)
    words = ["train", "-o", "run", "--data.sources", "2024", "--data.tokenizer", "characters"]
    words += ["--data.separator", r"\n\n", "--train.sample_prompt=true", "--data.field", "1e3"]
    words += ["--train.seed", "-3", "--train.optim.grad-clip", "null", "--train.steps", "1e3"]
    assert main([*words, "--data.sources=[red]"]) == 0
    found = begun[0]
    assert (found.train.sample_prompt, found.data.field) == ("true", "1e3")
    assert found.data.separator == "\n\n" and found.data.sources == ["2024", "[red]"]
    assert found.train.optim.grad_clip is None
    assert (found.train.seed, found.train.steps) == (-3, 1000)


def test_a_separator_is_typed_as_a_stop_is(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.txt").write_bytes(b"one\r\n\r\ntwo words\r\n\r\n" * 40)
    words = ["prepare", "t.txt", "--tokenizer", "gpt2", "--separator"]
    assert main([*words, r"\n\n", "-o", "d"]) == 0
    data = open_prepared("d")
    assert data.train.documents + data.validation.documents == 80
    assert "never occurs" not in capsys.readouterr().out
    assert main([*words, r"\n\n\n", "-o", "e"]) == 0
    assert r"the separator '\n\n\n' never occurs" in capsys.readouterr().out
    arguments = _parser().parse_args(["generate", "r", "--stop", r"\n\n", "--stop", r"a\\nb"])
    assert arguments.stop == ["\n\n", r"a\nb"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train d -o r --steps 5", "unknown: --steps 5; did you mean --train.steps?"),
        ("train d -o r --train-steps 5", "unknown: --train-steps"),
        ("train d -o r --batch-size 5", "did you mean --train.batch_size?"),
        ("train d -o r --sec 5", "unknown: --sec 5"),
        ("train d -o r --presett gpt2", "did you mean --preset?"),
        ("train d -o r --trian.steps 5", "unknown key trian; did you mean train?"),
        ("train d -o r --train.stpes 5", "did you mean train.steps"),
        ("train d -o r --train.steps", "--train.steps needs a value"),
        ("train d -o r --train.steps --train.seed 1", "--train.steps needs a value"),
        ("generate r --temprature 1", "did you mean --temperature?"),
        ("generate r --train.steps 1", "unknown: --train.steps 1"),
        ("eval r --context 1e3", "argument --context: invalid int value: '1e3'"),
        ("tokenizer train t.txt --vocabsize 300 -o t.json", "--vocab-size"),
        ("tokenizer decode gpt2 " + "9" * 5000, "ids are whole numbers from 0"),
        ("tokenizer decode gpt2 -- -1", "ids are whole numbers from 0, got '-1'"),
    ],
)
def test_options_that_there_are_not(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in failure(capsys, *words.split(" "))


def test_a_tokenizer_is_trained_on_text_only(tmp_path, capsys, monkeypatch):
    """A byte order mark is no part of it; where it goes is checked before the training."""
    monkeypatch.chdir(tmp_path)
    text = "Größer und größer. " * 50
    made = set()
    for mark in ("", "\ufeff"):
        Path("t.txt").write_text(mark + text, encoding="utf-8")
        assert main(["tokenizer", "train", "t.txt", "--vocab-size", "290", "-o", "t.json"]) == 0
        made.add(open_tokenizer("t.json").fingerprint)
    assert len(made) == 1 and sorted(p.name for p in tmp_path.iterdir()) == ["t.json", "t.txt"]
    for data, message in (
        (b"", "is empty"),
        (b"ab\0", "is binary"),
        (b"PK\3\4", "is a zip archive"),
        (text.encode("utf-16"), "is UTF-16, expected UTF-8"),
        (b"caf\xe9", "is not UTF-8"),
    ):
        Path("bad.txt").write_bytes(data)
        words = ["tokenizer", "train", "t.txt", "bad.txt", "--vocab-size", "290", "-o", "u.json"]
        assert f"bad.txt: {message}" in failure(capsys, *words)
    words = ["tokenizer", "train", "t.txt", "--vocab-size", "290", "-o"]
    assert "expected a name that ends in .json" in failure(capsys, *words, "u.txt")


@pytest.mark.skipif(os.name != "posix", reason="names and pipes as POSIX has them")
def test_hostile_files_are_one_line_for_every_verb(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("empty.txt").touch()
    Path("loop.txt").symlink_to("loop.txt")
    os.mkfifo("pipe.txt")
    Path("new\nline.txt").write_bytes(b"\0")
    Path("cut.txt.gz").write_bytes(b"\x1f\x8b\x08\0\0\0")
    names = ["folder", "empty.txt", "loop.txt", "pipe.txt", "new\nline.txt", "cut.txt.gz"]
    names += ["missing.txt", "/dev/null", "x" * 300]
    for name in names:
        for words in (
            ["prepare", name, "--tokenizer", "gpt2", "-o", "out"],
            ["prepare", "empty.txt", "--tokenizer", name, "-o", "out"],
            ["tokenizer", "train", name, "--vocab-size", "300", "-o", "t.json"],
            ["tokenizer", "encode", "gpt2", "--file", name],
            ["tokenizer", "decode", "gpt2", "--file", name],
            ["tokenizer", "info", name],
            ["tokenizer", "compare", "gpt2", "gpt2", "--text", name],
            ["train", "--config", name, "-o", "run"],
            ["finetune", name, "-o", "run"],
            ["eval", name],
            ["generate", name],
            ["plot", name],
            ["plot", "--schedule", name],
            ["report", name],
            ["info", name],
        ):
            failure(capsys, *words)


def test_one_line_keeps_what_is_no_control_character():
    assert one_line("a  b\n  c\x1b[31m é 😀") == "a  b c\\x1b[31m é 😀"
