"""The command line: every verb has help with an example; a mistake is one line and code 2."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptpy.cli import main
from gptpy.data.ids import open_ids
from gptpy.data.text import python_prose
from gptpy.tokenizer import open_tokenizer

TINY = {
    "model.n_layer": 1,
    "model.n_embd": 32,
    "model.n_head": 2,
    "model.n_kv_head": 2,
    "model.block_size": 16,
    "train.batch_size": 4,
    "train.dtype": "float32",
    "train.compile": "off",
}


def fails(capsys, *words: str, code: int = 2) -> str:
    """The one line on stderr of a command that must fail."""
    try:
        found = main(list(map(str, words)))
    except SystemExit as stop:  # argparse's own
        found = stop.code
    captured = capsys.readouterr()
    assert found == code, captured
    assert "Traceback" not in captured.err
    return captured.err


def one_line(text: str) -> bool:
    return text.startswith("gptpy: error: ") and text.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"too short", "too short"),
        (b"\0\1\2" * 1000, "is binary"),
        (b"\xff" * 3000, "is not UTF-8"),
    ],
)
def test_quickstart_refuses_in_one_line_and_writes_nothing(tmp_path, capsys, data, message):
    source = tmp_path / "t.txt"
    source.write_bytes(data)
    error = fails(capsys, "quickstart", source, "-o", tmp_path / "run")
    assert message in error and one_line(error)
    assert list(tmp_path.iterdir()) == [source]


def test_a_slip_in_the_environment_is_one_line(tmp_path):
    """In a process of its own: the variable is read when the tokenizer's module is imported."""
    (tmp_path / "t.txt").write_text("a text", encoding="utf-8")
    words = ["tokenizer", "train", str(tmp_path / "t.txt"), "--vocab-size", "300"]
    words += ["-o", str(tmp_path / "t.json")]
    code = f"import sys; from gptpy.cli import main; sys.exit(main({words!r}))"
    env = {**os.environ, "BPE_RS_SIMD": "sse9"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 2
    assert done.stderr.startswith("gptpy: error: BPE_RS_SIMD: expected one of portable")
    assert done.stderr.count("\n") == 1


def test_quickstart_refuses_what_is_no_file(tmp_path, capsys):
    assert "is a directory" in fails(capsys, "quickstart", tmp_path, "-o", tmp_path / "r")
    assert "no such file" in fails(capsys, "quickstart", tmp_path / "x", "-o", tmp_path / "r")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("mine")
    (tmp_path / "t.txt").write_text("x" * 2000)
    error = fails(capsys, "quickstart", tmp_path / "t.txt", "-o", tmp_path / "full")
    assert "exists and is not empty" in error and one_line(error)
    error = fails(capsys, "quickstart", "--resume", "-o", tmp_path / "nowhere")
    assert "no quickstart to resume" in error


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """tokenizer train, prepare and train, by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    text = folder / "prose.txt"
    text.write_bytes(python_prose()[:40_000])
    made = [folder / name for name in ("tok.json", "data", "run")]
    tok, data, out = map(str, made)
    assert main(["tokenizer", "train", str(text), "--vocab-size", "300", "-o", tok]) == 0
    assert main(["prepare", str(text), "--tokenizer", tok, "-o", data]) == 0
    words = ["train", data, "--preset", "modern-1m", "-o", out, "--train.steps", "4"]
    words += [word for key, value in TINY.items() for word in (f"--{key}", str(value))]
    assert main([*words, "--train.eval_every", "2", "--train.sample_every=4"]) == 0
    return folder


def test_train_leaves_a_run(run):
    summary = json.loads((run / "run/summary.json").read_text())
    assert summary["steps"] == 4 and summary["bits_per_byte"] > 0
    assert "--- step 4" in (run / "run/samples.txt").read_text()


def test_train_resumes_with_more_steps(run, capsys):
    words = ["train", "--resume", "-o", str(run / "run"), "--train.steps", "6"]
    assert main(words) == 0
    assert "resumed" in capsys.readouterr().out
    before = (run / "run/summary.json").read_text()
    assert json.loads(before)["steps"] == 6
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "its budget is used up: raise train.steps" in shown and "nan" not in shown
    assert (run / "run/summary.json").read_text() == before


def test_a_refused_resume_leaves_the_run_as_it_was(run, capsys):
    before = {name: (run / "run" / name).read_bytes() for name in ("config.toml", "tokenizer.json")}
    error = fails(capsys, "train", "--resume", "-o", run / "run", "--train.seed", "5")
    assert "was trained on other data" in error and one_line(error)
    assert before == {name: (run / "run" / name).read_bytes() for name in before}


def test_generate_is_repeatable(run, capsys):
    words = ["generate", str(run / "run"), "-p", "The", "--tokens", "8", "--seed", "1"]
    texts = []
    for extra in ([], ["--stream"]):
        assert main([*words, *extra]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and texts[0].startswith("The") and len(texts[0]) > 5
    assert "temperature" in fails(capsys, *words, "--temperature", "-1")


def test_more_ids_than_the_tokenizer_has(run, capsys):
    # As when a vocabulary is padded to a round number: what it draws from there is no text.
    out = str(run / "padded")
    words = ["train", str(run / "data"), "--preset", "modern-1m", "-o", out, "--train.steps", "1"]
    words += [word for key, value in TINY.items() for word in (f"--{key}", str(value))]
    assert main([*words, "--model.vocab_size", "5000"]) == 0
    assert main(["generate", out, "-p", "The", "--tokens", "20", "--temperature", "2"]) == 0
    assert capsys.readouterr().out.count("The") >= 1
    assert main(["plot", out]) == 0


def test_eval_scores_any_text(run, capsys):
    assert main(["eval", str(run / "run"), "--data", str(run / "prose.txt"), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["bytes"] == 40_000 and 0 < row["bits_per_byte"] < 9
    assert main(["eval", str(run / "run")]) == 0
    assert "validation" in capsys.readouterr().out


def test_plot_draws(run, capsys):
    words = ["plot", str(run / "run"), "--text", "To be, or not", "--layer", "1", "--head", "2"]
    assert main(words) == 0
    names = [re.split(r"[/\\]", line)[-1] for line in capsys.readouterr().out.split()]
    assert {"loss.png", "schedule.png", "attention.png", "positions.png"} <= set(names)
    assert {"attention-head.png", "embedding.png"} <= set(names)
    assert "head: expected 1 to" in fails(capsys, "plot", run / "run", "--head", "99")


def test_report_is_a_page_that_needs_nothing_else(run, capsys):
    path = run / "to send.html"
    texts = ["--text", "To be", "--text", "or <b>not</b>"]
    assert main(["report", str(run / "run"), "-o", str(path), *texts]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    page = path.read_text(encoding="utf-8")
    rest = re.sub(r"base64,[^\"]*", "", page)
    assert set(re.findall(r"https?://[\w.]+", rest)) == {"http://www.w3.org"}, "SVG's namespace"
    assert "<b>not" not in page and page.count("data:image/svg+xml;base64,") == 4
    assert main(["report", str(run / "run")]) == 0 and (run / "run/report.html").is_file()
    assert "in a folder that exists" in fails(capsys, "report", run / "run", "-o", run / "no/x")
    assert "not a run directory" in fails(capsys, "report", run)


def test_plots_of_a_configuration(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = Path(__file__).parents[2] / "recipes/e-romeo-small.toml"
    assert main(["plot", "--schedule", str(recipe)]) == 0
    assert main(["plot", "--positions", "modern-1m", "-o", "p.svg"]) == 0
    assert capsys.readouterr().out.split() == ["schedule.svg", "p.svg"]
    assert "learning rate" in Path("schedule.svg").read_text()
    assert "give a run directory" in fails(capsys, "plot")
    assert "learned from data" in fails(capsys, "plot", "--positions", "gpt2")
    assert "--text is of a run" in fails(capsys, "plot", "--positions", "gpt2", "--text", "x")
    assert "-o goes with" in fails(capsys, "plot", "run", "-o", "x.svg")
    Path("bare.toml").write_text("[train]\nbatch_size = 2\n")
    assert "nothing ends this run" in fails(capsys, "plot", "--schedule", "bare.toml")


def test_info_shows_what_is_there(run, capsys):
    for path in ([], [str(run / "run")], [str(run / "data")]):
        assert main(["info", *path]) == 0
    shown = capsys.readouterr().out
    assert "torch" in shown and "parameters" in shown and "validation" in shown
    assert "neither a run" in fails(capsys, "info", run)


def test_tokenizer_verbs(run, capsys):
    tok = str(run / "tok.json")
    assert main(["tokenizer", "encode", tok, "hello there"]) == 0
    ids = capsys.readouterr().out.split()
    assert main(["tokenizer", "decode", tok, *ids]) == 0
    assert capsys.readouterr().out == "hello there"
    out = run / "prose.ids"
    words = ["tokenizer", "encode", tok, "--file", str(run / "prose.txt"), "-o", str(out)]
    assert main(words) == 0
    assert len(open_ids(out).ids) > 1000 and np.asarray(open_ids(out).ids).max() < 300
    assert main(["tokenizer", "info", tok, "--file", str(run / "prose.txt")]) == 0
    assert "bytes per token" in capsys.readouterr().out


def test_standard_input_that_is_no_text(capsys, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(b"ab\xff"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stream)
    error = fails(capsys, "tokenizer", "encode", "gpt2")
    assert "standard input is not UTF-8: byte 2 is 0xff" in error and one_line(error)


def test_words_need_a_prompt_to_begin_with(run, capsys, tmp_path):
    words = ["train", "-o", str(tmp_path / "r"), "--train.steps", "2", "--train.sample_every", "1"]
    words += ["--data.sources", f'["{run / "prose.txt"}"]', "--data.tokenizer", "words:20"]
    words += [word for key, value in TINY.items() for word in (f"--{key}", str(value))]
    error = fails(capsys, *words)
    assert "train.sample_prompt" in error and one_line(error)


def test_what_ended_before_its_first_checkpoint_begins_anew(run, capsys, tmp_path, monkeypatch):
    out = tmp_path / "r"
    words = ["train", str(run / "data"), "--preset", "gpt2", "-o", str(out), "--train.steps", "9"]
    for key, value in {**TINY, "train.dtype": "float32"}.items():
        words += [] if key == "model.n_kv_head" else [f"--{key}", str(value)]
    with monkeypatch.context() as without:
        without.setattr("gptpy.runs.trackers.find_spec", lambda name: None)
        error = fails(capsys, *words, "--train.wandb", "me")
        assert "needs the wandb package" in error and one_line(error) and not out.exists()
    assert "5 steps in a row" in fails(capsys, *words, "--train.optim.lr", "1e30", code=1)
    assert (out / "config.toml").is_file()
    # --resume alone begins again as the run was begun, with a command as that says
    assert "5 steps in a row" in fails(capsys, "train", "--resume", "-o", out, code=1)
    assert main([*words, "--resume"]) == 0
    assert "holds a run" in fails(capsys, *words)


def test_a_run_that_is_alive_is_not_joined(run, capsys, tmp_path, monkeypatch):
    """The second command comes while the first has no checkpoint yet, so no other sign of life."""
    out = tmp_path / "r"
    words = ["train", str(run / "data"), "--preset", "modern-1m", "-o", str(out)]
    words += ["--train.steps", "1"]
    words += [word for key, value in TINY.items() for word in (f"--{key}", str(value))]
    (tmp_path / "chat.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    tune = ["finetune", str(run / "run"), str(tmp_path / "chat.jsonl"), "-o", str(out)]
    errors = []

    def step(live, metrics):
        before = sorted(path.name for path in out.iterdir())
        errors.extend(fails(capsys, *again) for again in (words, tune))
        assert sorted(path.name for path in out.iterdir()) == before

    with monkeypatch.context() as patched:
        patched.setattr("gptpy.cli.show.Live.on_step", step)
        assert main(words) == 0
    assert len(errors) == 2 and all(map(one_line, errors))
    assert all(f"another process (pid {os.getpid()} on" in error for error in errors)
    assert (out / "summary.json").is_file() and not (out / ".lock").exists()
    assert "holds a run" in fails(capsys, *words)


def test_a_run_that_was_stopped_in_its_last_step_is_completed(run, capsys, tmp_path, monkeypatch):
    out = tmp_path / "r"
    words = ["train", str(run / "data"), "--preset", "modern-1m", "-o", str(out)]
    words += ["--train.steps", "2"]
    words += [word for key, value in TINY.items() for word in (f"--{key}", str(value))]

    def stop(live, metrics):
        if metrics["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr("gptpy.cli.show.Live.on_step", stop)
        assert main(words) == 130
    cut = json.loads((out / "summary.json").read_text())
    assert cut["stopped"] == "interrupted" and "val_loss" not in cut
    again = ["train", "--resume", "-o", str(out)]
    assert main(again) == 0
    assert "validation loss" in capsys.readouterr().out
    whole = (out / "summary.json").read_text()
    summary = json.loads(whole)
    assert summary["stopped"] == "done" and summary["steps"] == 2 and summary["val_loss"] > 0
    assert summary["tokens_per_second"] == cut["tokens_per_second"] > 0
    # and what is complete stays as it is
    assert main(again) == 0
    assert (out / "summary.json").read_text() == whole
    # a run that went on and was killed before its summary was: this one is of fewer steps
    (out / "summary.json").write_text(whole.replace('"steps": 2', '"steps": 1'))
    assert main(again) == 0
    assert json.loads((out / "summary.json").read_text())["steps"] == 2


def test_tokenizer_compare(run, capsys, tmp_path):
    words = ["tokenizer", "compare", str(run / "tok.json"), "gpt2"]
    drawn = tmp_path / "compare.png"
    (tmp_path / "b.txt").write_text("größer und größer", encoding="utf-8")
    texts = ["--text", str(run / "prose.txt"), "--text", str(tmp_path / "b.txt")]
    assert main([*words, "o200k_base", *texts, "-o", str(drawn)]) == 0
    shown = capsys.readouterr().out
    assert "50,257 tokens" in shown and "tokens a word" in shown and "gpt2, o200k_base" in shown
    assert "b.txt: 21 bytes" in shown and "CHANGES" not in shown
    assert drawn.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "empty.txt").write_text("")
    assert "empty" in fails(capsys, *words, "--text", tmp_path / "empty.txt")


def test_tokenizer_extended_and_pruned(run, capsys, tmp_path):
    tok, text, out = str(run / "tok.json"), str(run / "prose.txt"), str(tmp_path / "t.json")
    before: Any = open_tokenizer(tok)
    extend = ["tokenizer", "train", text, "--base", tok, "--vocab-size", str(before.n_vocab + 90)]
    for more in ([], ["--across-words"]):
        assert main([*extend, *more, "-o", out]) == 0
        after: Any = open_tokenizer(out)
        assert after.mergeable_ranks == {**after.mergeable_ranks, **before.mergeable_ranks}
        assert after.n_vocab == before.n_vocab + 90
        several = [token for token in after.mergeable_ranks if b" " in token.strip()]
        assert bool(several) == bool(more)
    assert main(["tokenizer", "prune", tok, text, "--remove", "11", "-o", out]) == 0
    pruned: Any = open_tokenizer(out)
    assert len(pruned.mergeable_ranks) == len(before.mergeable_ranks) - 11
    assert pruned.mergeable_ranks.items() <= before.mergeable_ranks.items()
    capsys.readouterr()
    words = ["tokenizer", "train", text, "--across-words", "--vocab-size", "300", "-o", out]
    assert "give it by --base" in fails(capsys, *words)
    words = ["tokenizer", "prune", tok, text, "--remove", "9999", "-o", out]
    assert "remove to be at most" in fails(capsys, *words)


def test_mistakes(run, capsys, tmp_path):
    out, data = str(tmp_path / "r"), str(run / "data")
    base = ["train", data, "--preset", "modern-1m", "-o", out]
    for words, message in [
        ([*base, "--train.stepz", "4"], "did you mean train.steps"),
        ([*base, "--train.steps", "soon"], "train.steps: expected an integer > 0, got 'soon'"),
        ([*base], "nothing ends this run"),
        (["train", data, "--preset", "modern-2m", "-o", out], "no preset 'modern-2m'"),
        (["train", str(tmp_path), "-o", out, "--train.steps", "1"], "not a prepared data set"),
        (["train", "-o", out, "--train.steps", "1"], "no data"),
        (["train", str(tmp_path / "no.toml"), "-o", out], "no such configuration file"),
        (["train", "-o", out, "--train.stepz", "1"], "did you mean train.steps"),
        (["quickstart", "--resume", "-o", str(run / "run"), "--seconds", "0"], "greater than 0"),
        (["quickstart", "--resume", "-o", str(run / "run")], "has come to its end"),
        (["eval", str(run / "run"), "--context", "0"], "1 <= stride <= context"),
        (["eval", str(run / "run"), "--stride", "0"], "1 <= stride <= context"),
        (["train", "--resume", "-o", out], "no run to resume"),
        (["train", data, "-o", str(run / "run")], "holds a run"),
        ([*base, "--train.steps", "1", "--train.device", "tpu"], "not known"),
        (
            [*base, "--train.steps", "1", "--train.device", "cpu", "--train.fused_kernels", "on"],
            "fused kernels were asked for, but",
        ),
        ([*base, "--train.steps", "1", "--model.vocab_size", "10"], "set model.vocab_size"),
        (["generate", str(tmp_path)], "holds no checkpoint"),
        (["generate", str(run / "run"), "--step", "77"], "no checkpoint of step 77"),
        (["eval", str(run / "run"), "--data", str(tmp_path / "x")], "no such file"),
        (["plot", str(tmp_path)], "not a run directory"),
        (["tokenizer", "encode", "gpt-two", "x"], "published tokenizer"),
        (["tokenizer", "decode", "gpt2", "x"], "whole numbers"),
        (["tokenizer", "decode", "gpt2", "99999999"], "cannot decode"),
        (["prepare", str(tmp_path / "no"), "--tokenizer", "gpt2", "-o", out], "no such file"),
        (["prepare", data, "--tokenizer", "gpt2", "-o", data], "no .txt"),
    ]:
        error = fails(capsys, *words)
        assert message in error and one_line(error), (words, error)
    assert "usage" in fails(capsys, "trian")
