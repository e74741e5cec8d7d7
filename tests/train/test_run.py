"""A run from its configuration: what is refused before it begins, and how it is scored."""

import pytest

from gptpy.config import ConfigError
from gptpy.data.material import gather, open_material
from gptpy.data.prepared import open_splits
from gptpy.evaluation.loss import evaluate
from gptpy.runs.opening import load
from gptpy.runs.progress import Silent
from gptpy.train.run import checked_config, run_training, train_on


@pytest.mark.parametrize("data", [{"form": "lines"}, {"min_length": 4}])
def test_tokens_of_padded_rows_are_no_end(tmp_path, data):
    mapping = {"train": {"tokens": 1000}, "data": data}
    with pytest.raises(ConfigError, match=r"train.tokens counts windows .* give train.steps"):
        run_training(mapping, tmp_path / "run", Silent())


def test_settings_that_do_not_fit_leave_no_folder(tmp_path):
    for mapping, message in [
        ({}, "nothing ends this run"),
        ({"train": {"steps": 1, "sample_every": 1}, "model": {"architecture": "encoder"}}, "encod"),
        ({"train": {"steps": 1, "stepps": 2}}, "did you mean train.steps"),
    ]:
        with pytest.raises(ConfigError, match=message):
            run_training(mapping, tmp_path / "run", Silent())
    assert not list(tmp_path.iterdir())


def test_the_vocabulary_follows_the_data_unless_it_is_set():
    assert checked_config({"train": {"steps": 1}})[1] is False
    assert checked_config({"train": {"steps": 1}, "model": {"vocab_size": 300}})[1] is True


def test_a_run_is_scored_with_another_stride(tmp_path):
    (tmp_path / "t.txt").write_text("counting up and down " * 40)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16}
    train = {"steps": 2, "batch_size": 2, "compile": "off", "dtype": "float32", "ema_decay": 0.5}
    data = {"sources": [str(tmp_path / "t.txt")], "tokenizer": "characters"}
    config, _ = checked_config({"model": shape, "train": train, "data": data})
    run = tmp_path / "run"
    gather(config, run)
    trained = train_on(open_material(config, run), run, Silent())
    scores = [trained.evaluate(), trained.evaluate(stride=4)]
    assert [score.stride for score in scores if score] == [16, 4]
    assert scores[0] and scores[1] and scores[0].tokens == scores[1].tokens
    loaded = load(run, dtype="float32")  # with the averaged weights
    ids = open_splits(config, run).validation.joined()
    again = evaluate(loaded.model, ids, stride=4)
    assert again.loss == pytest.approx(scores[1].loss, rel=1e-6)
