"""The whole path on small texts: the files it writes, how it stops and resumes."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bpe_rs import Progress

from gptpy.cli import main
from gptpy.cli.show import scored_windows
from gptpy.config import ConfigError
from gptpy.config.data import DataConfig
from gptpy.config.files import read_toml
from gptpy.data import DataError, open_ids
from gptpy.data.material import training_lines
from gptpy.data.text import Text, python_prose
from gptpy.evaluation.loss import BATCH_TOKENS, Evaluation, evaluate
from gptpy.inference.text import stream_text
from gptpy.quickstart import TRAIN, quickstart, resume, training_seconds
from gptpy.report.shown import trained_tokens
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics
from gptpy.runs.opening import load
from gptpy.storage import atomic
from gptpy.tokenizer import make_tokenizer
from gptpy.train.run import run_training

SMALL = {
    "model": {"n_layer": 1, "n_embd": 32, "n_head": 2, "n_kv_head": 2, "block_size": 16},
    "train": {"steps": 8, "eval_every": 4, "log_every": 1, "seconds": 1000.0, "dtype": "float32"},
}


class Recorder:
    """Collects what a run reports; `on_each_step` may act on a step."""

    def __init__(self, on_each_step=lambda metrics: None):
        self.messages: list[str] = []
        self.evals: list[dict] = []
        self.on_each_step = on_each_step

    def on_message(self, text):
        self.messages.append(text)

    def on_eval(self, metrics):
        self.evals.append(metrics)

    def on_step(self, metrics):
        self.on_each_step(metrics)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    text = Text(python_prose()[:30_000], "some prose")
    return text, quickstart(
        text, tmp_path_factory.mktemp("qs") / "run", Recorder(), overrides=SMALL
    )


def test_the_run_directory_is_complete(done):
    _, result = done
    run = result.run_dir
    for name in ("config.toml", "tokenizer.json", "metrics.jsonl", "summary.json", "samples.txt"):
        assert (run / name).stat().st_size > 0, name
    for name in ("loss", "attention"):
        assert (run / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    folder = checkpoint.find(run)
    names = {"model.safetensors", "optimizer.safetensors", "state.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert len(result.sample) == 400
    summary = json.loads((run / "summary.json").read_text())
    assert summary == result.summary
    wanted = "bits_per_byte perplexity val_loss n_params vocab_size bytes_per_token"
    assert set(f"{wanted} tokens_per_second seconds".split()) <= summary.keys()


def test_the_tokenizer_and_the_model_see_the_training_part_only(done, tmp_path):
    text, result = done
    train = text.data[:27_000]
    assert open_ids(result.run_dir / "data/train-00000.ids").ids.tolist() == (
        load(result.run_dir).tokenizer.encode_ordinary(train.decode())
    )
    other = Text(train + text.data[27_000:].upper(), "other end")
    again = quickstart(other, tmp_path / "run", Recorder(), overrides=SMALL)
    one, two = (
        checkpoint.read_tensors(checkpoint.find(r.run_dir), "model") for r in (result, again)
    )
    assert all(bool((one[name] == two[name]).all()) for name in one)
    assert again.summary["bits_per_byte"] > result.summary["bits_per_byte"]


def test_the_report_knows_which_tokens_the_training_text_has(done):
    run = done[1].run_dir
    loaded = load(run)
    met = set(open_ids(run / "data/train-00000.ids").ids.tolist())
    assert 1 < len(met) < loaded.tokenizer.n_vocab
    assert trained_tokens(loaded) == sorted(met)
    first = set(open_ids(run / "data/train-00000.ids").ids[:50].tolist())
    assert trained_tokens(loaded, at_most=50) == sorted(first)
    (run / "data/manifest.json").rename(run / "data/away")
    try:
        assert trained_tokens(loaded) is None
    finally:
        (run / "data/away").rename(run / "data/manifest.json")


def test_every_validation_byte_is_scored(done):
    text, result = done
    ids = open_ids(result.run_dir / "data/validation-00000.ids").ids
    loaded = load(result.run_dir, dtype="float32")
    assert loaded.tokenizer.decode_bytes(ids.tolist()) == text.data[27_000:]
    score = evaluate(loaded.model, np.asarray(ids), n_bytes=3000, stride=4)
    assert score.tokens == len(ids) == result.summary["val_tokens"]
    assert result.summary["val_bytes"] == 3000
    assert score.bits_per_byte == pytest.approx(result.summary["bits_per_byte"], abs=1e-3)


def test_ctrl_c_saves_and_resume_ends_where_the_whole_run_does(done, tmp_path):
    text, whole = done

    def interrupt(metrics):
        if metrics["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    cut = quickstart(text, tmp_path / "run", Recorder(interrupt), overrides=SMALL)
    assert cut.interrupted and checkpoint.steps(cut.run_dir) == [3]
    ended = resume(cut.run_dir, Recorder())
    assert not ended.interrupted and ended.sample == whole.sample
    assert ended.summary["val_loss"] == whole.summary["val_loss"]
    # its config.toml says all that decides the run, no limit of the gradient's norm among it
    assert checkpoint.read_config(cut.run_dir).train.optim.grad_clip == math.inf


def old_layout(run: Path) -> None:
    """Rewrite the run directory as versions did that prepared the text themselves."""
    config = replace(checkpoint.read_config(run), data=DataConfig(train="data"))
    (run / "config.toml").write_text(config.to_toml())
    manifest = json.loads((run / "data/manifest.json").read_text())
    for split in ("train", "validation"):
        manifest[split][0]["file"] = f"{split}.ids"
        (run / f"data/{split}-00000.ids").rename(run / f"data/{split}.ids")
    (run / "data/manifest.json").write_text(json.dumps(manifest))
    for name in ("job.json", "slice-00000.json", "tokenizer.json"):
        (run / "data" / name).unlink()


def test_a_quickstart_of_an_older_version_is_resumed(done, tmp_path):
    text, whole = done

    def interrupt(metrics):
        if metrics["step"] == 5:
            os.kill(os.getpid(), signal.SIGINT)

    run = quickstart(text, tmp_path / "run", Recorder(interrupt), overrides=SMALL).run_dir
    old_layout(run)
    ended = resume(run, Recorder())
    assert ended.sample == whole.sample and ended.summary.keys() == whole.summary.keys()
    assert ended.summary["val_loss"] == whole.summary["val_loss"]


@pytest.mark.parametrize("name", ["t.txt", "t.tex", "t.jsonl", "marked.txt"])
def test_any_utf8_file_is_a_text(done, tmp_path, name):
    text, whole = done
    mark = b"\xef\xbb\xbf" if name == "marked.txt" else b""
    (tmp_path / name).write_bytes(mark + text.data)
    result = quickstart(tmp_path / name, tmp_path / "run", Recorder(), overrides=SMALL)
    assert result.sample == whole.sample
    assert (result.run_dir / "text.txt").exists() == (name != "t.txt")
    (source,) = checkpoint.read_config(result.run_dir).data.sources
    assert Path(source).read_bytes() == text.data


def test_its_configuration_is_one_for_gptpy_train(done, tmp_path):
    _, result = done
    mapping = read_toml(result.run_dir / "config.toml")
    again, _ = run_training(mapping, tmp_path / "again", Recorder())
    assert again is not None and again.step == 8
    one, two = (
        [row["loss"] for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "step"]
        for run in (result.run_dir, tmp_path / "again")
    )
    assert one == two and len(one) == 8


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data": {"form": "lines"}}, "a decoder on a stream of text"),
        ({"model": {"architecture": "encoder"}}, "a decoder on a stream of text"),
        ({"data": {"validation": 0}}, "data.validation above 0"),
        ({"train": {"stepps": 3}}, "did you mean train.steps"),
    ],
)
def test_what_is_no_quickstart_is_refused(done, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        quickstart(done[0], tmp_path / "run", Recorder(), overrides=overrides)


@pytest.mark.parametrize("size", [1000, 3000])
def test_small_texts_work(tmp_path, size):
    text = Text(python_prose()[:size], "small")
    result = quickstart(text, tmp_path / "r", Recorder(), overrides={"train": {"steps": 2}})
    assert 0 < result.summary["bits_per_byte"] < 16


def test_text_of_many_bytes_a_character(tmp_path):
    text = Text(("Пусть кот спит. 猫は眠る。" * 100).encode(), "mixed")
    result = quickstart(text, tmp_path / "r", Recorder(), overrides={"train": {"steps": 2}})
    assert result.summary["val_bytes"] <= len(text.data) // 10


def test_a_short_text_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match=r"999 bytes are too short .* at least 1000"):
        quickstart(Text(b"x" * 999, "short"), tmp_path / "run", Recorder())
    assert list(tmp_path.iterdir()) == []


def test_load_takes_a_run_or_a_checkpoint(done):
    import gptpy

    run = done[1].run_dir
    loaded = gptpy.load(run)
    one, two = loaded.model, gptpy.load(checkpoint.find(run), device="cpu").model
    assert isinstance(one, gptpy.GPT) and not one.training
    assert loaded.tokenizer.n_vocab == loaded.config.model.vocab_size
    assert all(
        bool((a == b).all()) for a, b in zip(one.parameters(), two.parameters(), strict=True)
    )


def test_a_time_budget_that_ends_early_is_reported(tmp_path):
    recorder = Recorder()
    few = {**SMALL, "train": {**SMALL["train"], "steps": 100_000, "seconds": 0.01}}
    quickstart(
        Text(python_prose()[:30_000], "some prose"), tmp_path / "run", recorder, overrides=few
    )
    assert any("of 100,000 steps fitted into the time" in text for text in recorder.messages)


def test_the_curve_has_twenty_points_and_the_end_scores_all_of_the_text(tmp_path):
    few = {**SMALL, "train": {"steps": 20, "seconds": 1000.0, "dtype": "float32"}}
    few["train"]["eval_tokens"] = 64
    text = Text(python_prose()[:10_000], "prose")
    result = quickstart(text, tmp_path / "run", Recorder(), overrides=few)
    rows = read_metrics(result.run_dir / "metrics.jsonl")
    *curve, final = [row["tokens"] for row in rows if row["kind"] == "eval"]
    assert curve == [64] * 20
    assert final == result.summary["val_tokens"] > 200
    assert TRAIN["eval_tokens"] == BATCH_TOKENS


def test_a_finished_run_is_not_resumed(done):
    _, result = done
    with pytest.raises(ConfigError, match="has come to its end"):
        resume(result.run_dir, Recorder())


@pytest.mark.parametrize("budget", [15, 20, 30, 60, 165])
def test_the_time_kept_for_the_end_fits_the_budget(budget):
    """After 5 s, with 2 for the score: three tenths of 15 s, nine of 165, are left to train."""
    left = training_seconds(budget, 5.0, 2.0)
    assert budget - 5 - 2 - 3 - 0.03 * budget == pytest.approx(left)
    assert left >= 0.3 * budget and (budget < 165 or left > 148)
    assert training_seconds(budget, 5.0, 3.0) == left - 1
    assert training_seconds(budget, budget, 2.0) == 1.0


def test_the_budget_for_training_is_what_the_rehearsal_leaves(tmp_path, monkeypatch):
    heard = []

    def evaluation(model, ids, **options):
        heard.append((len(ids), options["stride"]))
        return Evaluation(1.0, 1.0, None, len(ids), None, 16, options["stride"], 0.5)

    def left(*seconds):
        heard.append(seconds)
        return 123.0

    monkeypatch.setattr("gptpy.quickstart.evaluate", evaluation)
    monkeypatch.setattr("gptpy.quickstart.training_seconds", left)
    shape = {**SMALL, "train": {"steps": 1, "dtype": "float32"}}
    text = Text(python_prose()[:30_000], "some prose")
    run = quickstart(text, tmp_path / "r", Recorder(), seconds=77.0, overrides=shape).run_dir
    n = len(open_ids(run / "data/validation-00000.ids").ids)
    assert n > 192 * 4  # windows of 16 moved on by 4, 192 of them are rehearsed
    assert heard[:2] == [(257, 4), (768, 4)]
    budget, passed, scoring = heard[2]
    assert budget == 77.0 and passed > 0 and scoring == pytest.approx(0.5 * n / 768)
    assert checkpoint.read_config(run).train.seconds == 123.0


def test_the_two_scores_of_the_last_step_differ_in_their_windows(tmp_path):
    recorder = Recorder()
    text = Text(python_prose()[:30_000], "some prose")
    done = quickstart(text, tmp_path / "run", recorder, overrides=SMALL)
    while_training, final = recorder.evals[-2:]
    assert while_training["step"] == final["step"] == 8
    assert scored_windows(while_training) == " (windows of 16 tokens side by side)"
    assert scored_windows(final) == " (windows of 16 tokens moved on by 4)"
    rows = [row for row in read_metrics(done.run_dir / "metrics.jsonl") if row["kind"] == "eval"]
    assert [(row["step"], row["stride"]) for row in rows] == [(4, 16), (8, 16), (8, 4)]


def cut_at(step: int):
    def interrupt(metrics):
        if metrics["step"] == step:
            os.kill(os.getpid(), signal.SIGINT)

    return Recorder(interrupt)


def test_the_averaged_weights_are_scored_sampled_and_loaded(tmp_path):
    """As `load` takes them: not the raw ones."""
    kept = {**SMALL, "train": {**SMALL["train"], "ema_decay": 0.5}}
    text = Text(python_prose()[:30_000], "some prose")
    done = quickstart(text, tmp_path / "run", Recorder(), overrides=kept)
    loaded = load(tmp_path / "run", dtype="float32")
    ids = open_ids(tmp_path / "run/data/validation-00000.ids").ids
    score = evaluate(loaded.model, np.asarray(ids), n_bytes=3000, stride=4)
    assert score.loss == pytest.approx(done.summary["val_loss"], abs=2e-5)
    again = stream_text(
        loaded.model, loaded.tokenizer, "\n", 400, temperature=0.8, top_k=50, seed=0
    )
    assert "".join(again)[:400] == done.sample


def test_train_goes_on_with_a_quickstart_and_quickstart_with_its_command(done, tmp_path):
    text, whole = done
    run = quickstart(text, tmp_path / "run", cut_at(3), overrides=SMALL).run_dir
    other = Text(text.data[:-1], "other")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"text": other}, "was begun with"),
        ({"overrides": {"train": {"optim": {"name": "adamw"}}}}, "train.optim.name"),
    ]
    for given, message in cases:
        with pytest.raises(ConfigError, match=message):
            resume(run, Recorder(), **given)
    assert main(["train", "--resume", "-o", str(run), "--train.steps", "5"]) == 0
    assert checkpoint.steps(run)[-1] == 5
    (run / "summary.json").unlink()
    ended = resume(run, Recorder(), text=text, overrides=SMALL)
    assert ended.summary["val_loss"] == whole.summary["val_loss"]


def test_a_quickstart_that_ended_before_its_first_checkpoint_begins_again(tmp_path, capsys):
    source, run = tmp_path / "t.txt", tmp_path / "run"
    source.write_bytes(python_prose()[:30_000])

    class Killed(Exception):
        pass

    def kill(metrics):
        raise Killed

    with pytest.raises(Killed):
        quickstart(source, run, Recorder(kill), overrides=SMALL)
    assert (run / "config.toml").is_file() and not checkpoint.steps(run)
    (tmp_path / "mine/data").mkdir(parents=True)
    assert main(["quickstart", str(source), "-o", str(tmp_path / "mine")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert main(["quickstart", "--resume", "-o", str(run)]) == 2
    assert "give the command that began it again" in capsys.readouterr().err
    options = {"model": SMALL["model"], "train": {"steps": 2, "dtype": "float32"}}
    words = [f"--{table}.{k}={v}" for table, keys in options.items() for k, v in keys.items()]
    command = ["quickstart", str(source), "-o", str(run), "--seconds", "60", *words]
    assert main([*command, "--resume"]) == 0 and checkpoint.steps(run)[-1] == 2
    (run / "summary.json").unlink()
    assert main([*command, "--resume"]) == 0  # and nothing is left to do
    shutil.rmtree(run / "checkpoints")
    for name in ("summary.json", "plots", "samples.txt"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main(command) == 0


def test_a_tokenizer_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    asked = []

    def slow(spec, texts, *, progress=None):
        asked.append(spec)
        if progress is not None and spec != "bytes:257":
            progress(Progress("merge", 3, 10, 1.0))
        return make_tokenizer(spec, texts)

    monkeypatch.setattr("gptpy.data.material.make_tokenizer", slow)
    monkeypatch.setattr("gptpy.quickstart.TOKENIZER_SHARE", 0.0)
    monkeypatch.setattr("gptpy.quickstart.MIN_TOKENIZER_SECONDS", -1.0)
    heard = Recorder()
    text = Text(b"abcdefghij" * 3000, "one line")
    done = quickstart(text, tmp_path / "run", heard, overrides=SMALL)
    assert asked == ["bytes:271", "bytes:257"]
    assert any("bytes are the tokens" in message for message in heard.messages)
    assert done.summary["vocab_size"] == 257
    assert checkpoint.read_config(tmp_path / "run").data.tokenizer == "bytes:257"


def test_the_training_of_a_tokenizer_is_told_now_and_then():
    heard = Recorder()
    tell = training_lines(heard, every=0.0)
    tell(Progress("count", 10, None, 1.0))
    tell(Progress("merge", 1500, 3000, 1.0))
    assert heard.messages == [
        "training the tokenizer: 10 bytes counted",
        "training the tokenizer: 1,500 of 3,000 merges",
    ]


def test_a_full_disk_at_the_end_loses_neither_run_nor_result(tmp_path, monkeypatch):
    real = atomic.write_text

    def full(path, text):
        if path.name in ("samples.txt", "summary.json"):
            raise OSError(28, "No space left on device", str(path))
        real(path, text)

    monkeypatch.setattr("gptpy.quickstart.atomic.write_text", full)
    heard, text = Recorder(), Text(python_prose()[:30_000], "some prose")
    done = quickstart(text, tmp_path / "run", heard, overrides=SMALL)
    told = [message for message in heard.messages if "No space left" in message]
    assert ["samples.txt" in told[0], "summary.json" in told[1]] == [True, True]
    assert done.summary["val_loss"] > 0 and checkpoint.steps(tmp_path / "run")[-1] == 8


def test_a_running_quickstart_keeps_others_out(tmp_path):
    refused = []

    def join(metrics):
        for again in (
            lambda: resume(tmp_path / "run", Recorder()),
            lambda: quickstart(text, tmp_path / "run", Recorder(), overrides=SMALL),
        ):
            with pytest.raises(ConfigError, match="another process") as error:
                again()
            refused.append(str(error.value))

    text = Text(python_prose()[:30_000], "some prose")
    short = {**SMALL, "train": {**SMALL["train"], "steps": 1}}
    done = quickstart(text, tmp_path / "run", Recorder(join), overrides=short)
    assert len(refused) == 2 and str(os.getpid()) in refused[0]
    assert not (done.run_dir / ".lock").exists()
