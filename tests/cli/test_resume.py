"""`--resume`: the command that began a run goes on with it, or says what cannot go on."""

import json

import pytest

from gptpy.cli import main
from gptpy.data.text import python_prose
from gptpy.runs import checkpoint
from gptpy.runs.metrics import read_metrics

SHAPE = {
    "model.n_layer": 1,
    "model.n_embd": 16,
    "model.n_head": 2,
    "model.n_kv_head": 2,
    "model.block_size": 16,
    "train.batch_size": 4,
    "train.dtype": "float32",
    "train.compile": "off",
}


def words_of(options: dict) -> list[str]:
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def fails(capsys, *words) -> str:
    assert main(list(map(str, words))) == 2
    error = capsys.readouterr().err
    assert error.startswith("gptpy: error: ") and error.count("\n") == 1, error
    return error


def everything(run) -> dict:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    (folder / "t.txt").write_bytes(python_prose()[:20_000])
    words = ["prepare", folder / "t.txt", "--tokenizer", "gpt2", "-o", folder / "data"]
    assert main(list(map(str, words))) == 0
    return folder


def begin(data, run, *more: object) -> list[str]:
    words = ["train", data / "data", "--preset", "modern-1m", "-o", run, "--train.steps", "3"]
    return list(map(str, [*words, *words_of(SHAPE), *more]))


def test_the_command_that_began_goes_on(data, tmp_path, capsys):
    words = [*begin(data, tmp_path / "r"), "--resume"]
    assert main(words) == 0  # nothing was written yet
    assert checkpoint.steps(tmp_path / "r")[-1] == 3 and "resumed" not in capsys.readouterr().out
    assert main(words) == 0  # nothing is left to do
    assert "its budget is used up" in capsys.readouterr().out
    assert main([*words, "--train.steps", "5", "--train.batch_size", "2"]) == 0
    assert checkpoint.read_state(checkpoint.find(tmp_path / "r"))["samples"] == 3 * 4 + 2 * 2
    config = checkpoint.read_config(tmp_path / "r")
    assert (config.train.steps, config.train.batch_size) == (5, 2)


def test_a_configuration_file_goes_on(data, tmp_path):
    recipe = tmp_path / "r.toml"
    text = f'[data]\nsources = ["{data / "t.txt"}"]\ntokenizer = "bytes:270"\n[train]\nsteps = 2\n'
    recipe.write_text(text + '[model]\npreset = "modern-1m"\n')
    words = ["train", str(recipe), "-o", str(tmp_path / "r"), *words_of(SHAPE), "--resume"]
    assert main(words) == 0 and main([*words, "--train.steps", "4"]) == 0
    assert checkpoint.steps(tmp_path / "r")[-1] == 4
    assert main(["train", "--resume", "-o", str(tmp_path / "r"), "--train.steps", "5"]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--train.optim.name", "muon"], "train.optim.name: 'adamw' in this run, 'muon'"),
        (["--model.n_layer", "2"], "model.n_layer: 1 in this run, 2 asked for"),
        (["--preset", "gpt2"], "model.position: 'rope' in this run, 'learned'"),
        (["--model.rope_theta", "500"], "model.rope_theta: 10000.0 in this run, 500.0"),
        (["--data.form", "lines"], "data.form"),
        (["--data.document_mask", "true"], "data.document_mask: False in this run, True"),
        (["--lora.rank", "4"], "lora"),
        (["--train.freeze_embeddings", "true"], "train.freeze_embeddings"),
        (["--train.seed", "4"], "other data"),
        (["--train.batch_size", "0"], "batch_size"),
        (["--train.dtype", "float8"], "train.dtype"),
    ],
)
def test_what_cannot_go_on_is_named_and_the_run_stays(
    data, tmp_path_factory, capsys, options, said
):
    run = data / "refused"
    if not run.exists():
        assert main(begin(data, run)) == 0
    before = everything(run)
    assert said in fails(capsys, "train", "--resume", "-o", run, "--train.steps", "6", *options)
    assert everything(run) == before


def test_other_data_are_named(data, tmp_path, capsys):
    run = data / "other"
    assert main(begin(data, run)) == 0
    (tmp_path / "u.txt").write_bytes(python_prose()[:15_000])
    more = ["prepare", tmp_path / "u.txt", "--tokenizer", "gpt2", "-o", tmp_path / "data"]
    assert main(list(map(str, more))) == 0
    before = everything(run)
    error = fails(capsys, "train", tmp_path / "data", "--resume", "-o", run, "--train.steps", "6")
    assert "trained on other data" in error and everything(run) == before
    (data / "data").rename(data / "moved")
    try:
        again = ["train", data / "moved", "--resume", "-o", run, "--train.steps", "4"]
        assert main(list(map(str, again))) == 0
    finally:
        (data / "moved").rename(data / "data")


def test_what_may_change_goes_on_from_there(data, tmp_path):
    run = tmp_path / "r"
    assert main(begin(data, run)) == 0
    changes = ["--train.optim.lr", "1e-4", "--train.schedule.kind", "wsd", "--train.dtype"]
    changes += ["bfloat16", "--train.ema_decay", "0.9", "--train.steps", "6", "--model.dropout"]
    assert main(["train", "--resume", "-o", str(run), *changes, "0.1"]) == 0
    assert checkpoint.read_config(run).model.dropout == 0.1
    last = [row for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "step"][-1]
    assert last["step"] == 6 and last["lr"] < 1e-4


def test_finetune_goes_on_by_its_own_command(data, tmp_path, capsys):
    assert main(begin(data, tmp_path / "base")) == 0
    (tmp_path / "i.jsonl").write_text('{"prompt": "a", "response": "b"}\n' * 20)
    words = ["finetune", tmp_path / "base", tmp_path / "i.jsonl", "-o", tmp_path / "r", "--resume"]
    words = [*map(str, words), "--data.validation", "0", "--train.epochs", "5"]
    assert main(words) == 0 and checkpoint.steps(tmp_path / "r")[-1] == 7
    # without the option the run's own number of epochs holds, not the verb's default
    assert main(words[:-2]) == 0
    assert checkpoint.read_config(tmp_path / "r").train.epochs == 5
    assert main([*words[:-1], "6"]) == 0
    assert "lora" in fails(capsys, *words, "--lora", "4")


@pytest.fixture(scope="module")
def early(data):
    """A run whose loss on what is held out rises: it is taught something else too fast."""
    run = data / "early"
    more = {"train.steps": 60, "train.eval_every": 2, "train.patience": 3, "train.optim.lr": 0.5}
    more |= {"train.schedule.warmup_steps": 0}
    assert main([*begin(data, run), *words_of(more)]) == 0
    return run


def test_after_early_stopping_the_best_is_used_everywhere(early, tmp_path, capsys):
    summary = json.loads((early / "summary.json").read_text())
    rows = [r for r in read_metrics(early / "metrics.jsonl") if r["kind"] == "eval"]
    best = min(rows, key=lambda row: row["val_loss"])
    last = checkpoint.steps(early)[-1]
    assert summary["stopped"] == "early" and summary["steps"] == last > best["step"]
    assert summary["checkpoint"] == summary["best_step"] == best["step"]
    assert summary["val_loss"] == pytest.approx(best["val_loss"], rel=1e-4)
    context = ["--stride", "16", "--json"]
    for step, expected in ((None, best), ("best", best), ("last", rows[-1]), (last, rows[-1])):
        words = ["eval", str(early), *context, *([] if step is None else ["--step", str(step)])]
        assert main(words) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["step"] == expected["step"]
        assert found["val_loss"] == pytest.approx(expected["val_loss"], rel=5e-3)
    said = f"step {best['step']}"
    assert main(["generate", str(early), "-p", "The", "--tokens", "2"]) == 0
    assert said in capsys.readouterr().err
    assert main(["export", str(early), "-o", str(tmp_path / "hf")]) == 0
    out = capsys.readouterr().out
    assert said in out and "the best: validation loss" in out and "stopped early" in out
    assert main(["info", str(early)]) == 0
    assert said in capsys.readouterr().out
    assert "no checkpoint of step 999" in fails(capsys, "generate", early, "--step", "999")
    assert "best or last" in fails(capsys, "generate", early, "--step", "first")


def test_a_resume_of_a_run_that_stopped_early_says_so(early, capsys):
    before = everything(early)
    assert main(["train", "--resume", "-o", str(early)]) == 0
    out = capsys.readouterr().out
    assert "stopped early" in out and "raise train.patience" in out
    assert everything(early) == before


def test_a_run_without_an_evaluation_has_no_best(data, capsys):
    run = data / "refused"
    if not run.exists():
        assert main(begin(data, run)) == 0
    state = checkpoint.find(run) / "state.json"
    kept = state.read_text()
    state.write_text(kept.replace('"best_step": 3', '"best_step": null'))
    try:
        error = fails(capsys, "eval", run, "--step", "best")
    finally:
        state.write_text(kept)
    assert "no best checkpoint (nothing was evaluated)" in error
