"""Padded rows: what is scored, what is hidden, and that padding is neither seen nor counted."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.data import DataConfig
from gptpy.config.run import RunConfig
from gptpy.config.training import TrainConfig
from gptpy.data import DataError
from gptpy.data.dataset import IGNORE, Dataset
from gptpy.data.masking import Masked
from gptpy.data.material import gather, open_material
from gptpy.data.prepared import open_prepared
from gptpy.data.rows import Row, Rows, line_rows, pair_rows, windows_of
from gptpy.evaluation.rows import evaluate_rows, exact_share, row_batches
from gptpy.evaluation.scoring import score_of
from gptpy.model import build_model
from gptpy.runs.progress import Silent
from gptpy.tokenizer import make_tokenizer, open_tokenizer
from gptpy.tokenizer.reserved import reserve
from gptpy.train import Trainer
from gptpy.train.run import run_training

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 16,
    "vocab_size": 30,
    "block_size": 16,
}


@pytest.fixture(scope="module")
def letters():
    return make_tokenizer("characters", lambda: ["abcdefghijklmnopqrstuvwxyz "])


def random_rows(count: int, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, 29, rng.integers(2, 17)) for _ in range(count)]
    return [Row(row[:-1], row[1:]) for row in ids]


@pytest.mark.parametrize(
    ("length", "block", "stride"), [(10, 16, None), (40, 16, None), (40, 8, 3)]
)
def test_windows_score_every_target_once(length, block, stride):
    inputs, targets = np.arange(length), np.arange(1, length + 1)
    scored = []
    for window in windows_of(inputs, targets, block, stride):
        assert len(window.inputs) == len(window.targets) <= block
        kept = window.targets != IGNORE
        assert np.array_equal(window.targets[kept], window.inputs[kept] + 1)
        scored += window.targets[kept].tolist()
    assert scored == targets.tolist()


def test_windows_of_stored_ids():
    stored, signed = (np.arange(40, dtype=dtype) for dtype in (np.uint16, np.int64))
    wanted = list(windows_of(signed, signed, 8, 3))
    for one, two in zip(windows_of(stored, stored, 8, 3), wanted, strict=True):
        assert one.targets.dtype == np.int64 and np.array_equal(one.targets, two.targets)


def test_lines_begin_and_end(letters):
    end = reserve(letters, "decoder", "lines").end
    assert end == letters.n_vocab
    rows = list(line_rows(["ab", "", "c"], letters, 16, end=end))
    assert [row.inputs.tolist() for row in rows] == [[end, 1, 2], [end, 3]]
    assert [row.targets.tolist() for row in rows] == [[1, 2, end], [3, end]]
    pair = next(pair_rows([("ab", "c")], letters, end=end))
    assert pair.source is not None
    assert (pair.source.tolist(), pair.inputs.tolist(), pair.targets.tolist()) == (
        [1, 2, end],
        [end, 3],
        [3, end],
    )
    gpt2 = open_tokenizer("gpt2")
    assert reserve(gpt2, "decoder", "lines").vocab_size == 50257
    found = reserve(gpt2, "encoder", "lines")
    assert (found.end, found.mask, found.vocab_size) == (50256, 50257, 50258)


def test_an_epoch_takes_every_row_once():
    data = Rows(random_rows(37), 16, seed=3)
    for epoch in (0, 1):
        places = data.places(np.arange(37) + 37 * epoch)
        assert sorted(places) == list(range(37))
    assert data.places(np.arange(37)) != data.places(np.arange(37, 74))


def test_padding_is_neither_seen_nor_counted():
    """The loss of a padded batch is that of its rows one by one."""
    for architecture in ("decoder", "encoder"):
        torch.manual_seed(0)
        config = GPTConfig(**SHAPE, architecture=architecture, dropout=0.0, init_std=0.3)
        model = build_model(config).eval()
        rows = random_rows(9)
        data = Rows(rows, 16, key_padding=architecture == "encoder")
        batch = data.stack(rows)
        assert batch.real == sum(len(row.inputs) for row in rows) < batch.inputs.numel()
        _, loss = model(batch.inputs, batch.targets, reduction="sum", **batch.masks())
        alone = 0.0
        for row in rows:
            ids, targets = torch.from_numpy(row.inputs)[None], torch.from_numpy(row.targets)[None]
            alone += model(ids, targets, reduction="sum")[1].item()
        assert loss.item() == pytest.approx(alone, rel=1e-5)
        scored = evaluate_rows(model, row_batches(data, 30))
        assert scored.tokens == batch.tokens
        assert scored.loss == pytest.approx(alone / batch.tokens, rel=1e-5)
        likeliest = model(batch.inputs, **batch.masks())[0].argmax(-1)
        right = (likeliest == batch.targets)[batch.targets != IGNORE].float().mean()
        assert scored.accuracy == pytest.approx(float(right))


def test_masks_depend_on_the_sample_alone():
    data = Masked(Rows(random_rows(50), 16, seed=1, key_padding=True), 29, 29, 0.3)
    together = data.batch(np.arange(12))
    for sample in (0, 5, 11):
        alone = data.batch(np.array([sample]))
        length = int(alone.extra["key_padding_mask"].sum())
        assert torch.equal(together.inputs[sample, :length], alone.inputs[0, :length])
        assert torch.equal(together.targets[sample, :length], alone.targets[0, :length])
    assert not torch.equal(together.targets, data.batch(np.arange(50, 62)).targets)
    real = together.extra["key_padding_mask"]
    assert (together.targets[~real] == IGNORE).all() and not (together.inputs[~real] == 29).any()
    original = data.data.batch(np.arange(12)).inputs
    hidden = together.targets != IGNORE
    assert torch.equal(together.targets[hidden], original[hidden])
    assert torch.equal(together.inputs[~hidden], original[~hidden])
    packed = Dataset([np.arange(500) % 29], 16, end_of_text=0, document_mask=True)
    stream = Masked(packed, 29, 29, 0.3).batch(np.arange(4))
    assert (stream.inputs == 29).any()
    documents = packed.batch(np.arange(4)).documents
    assert documents is not None and stream.documents is not None
    assert torch.equal(stream.documents, documents), "attention stays inside a document"


def test_exact_share_counts_whole_rows():
    class Parrot(torch.nn.Module):
        """Says 1 2 3 and then the end, 0, whatever it reads; two rows of four expect that."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def generate(self, ids, count, *, temperature, eos_id, source, source_padding_mask):
            assert temperature == 0 and eos_id == 0 and (ids == 0).all()
            assert source.shape == source_padding_mask.shape
            said = torch.tensor([1, 2, 3] + [0] * 9)[:count]
            return torch.cat((ids, said.expand(len(ids), -1)), 1)

    def row(*targets):
        said = np.array(targets)
        return Row(np.array([0, *targets[:-1]]), said, np.array([5, 0]))

    rows = [row(1, 2, 3, 0), row(1, 2, 0), row(1, 2, 3, 4, 0), row(1, 2, 3, 0)]
    assert exact_share(Parrot(), Rows(rows, 16), 0) == 0.5


def config_for(architecture="decoder", **data) -> RunConfig:
    model = GPTConfig(**{**SHAPE, "architecture": architecture})
    return RunConfig(model, TrainConfig(steps=2, batch_size=4), DataConfig(**data))


def opened(config, run_dir):
    gather(config, run_dir)
    return open_material(config, run_dir)


def test_held_out_sources_are_all_that_validates(tmp_path):
    for name, text in (("a.txt", "first train. " * 30), ("b.txt", "held out! " * 20)):
        (tmp_path / name).write_text(text)
    sources: dict[str, Any] = {
        "sources": [str(tmp_path / "a.txt")],
        "validation_sources": [str(tmp_path / "b.txt")],
        "tokenizer": "characters",
    }
    for form in ("stream", "lines"):
        config = config_for(**sources, form=form)
        material = opened(config, tmp_path / form)
        assert len(material.dataset) == len("first train. " * 30) + (form == "lines")
        assert material.config.model.vocab_size == material.tokenizer.n_vocab + (form == "lines")
        model = build_model(material.config.model)
        score = score_of(material)
        assert score is not None
        scored = score(model, None)
        assert scored.tokens == len("held out! " * 20) + (form == "lines")
        assert (scored.bits_per_byte is None) == (form == "lines")


@pytest.mark.parametrize("spec", ["bytes:270", "words:20"])
def test_a_tokenizer_is_not_trained_on_what_validates(tmp_path, spec):
    (tmp_path / "a.txt").write_text("first train. " * 30)
    (tmp_path / "b.txt").write_text("zzz held out é! " * 20)
    sources: dict[str, Any] = {
        "sources": [str(tmp_path / "a.txt")],
        "validation_sources": [str(tmp_path / "b.txt")],
    }
    material = opened(config_for(**sources, tokenizer=spec), tmp_path / "run")
    alone = make_tokenizer(spec, lambda: ["first train. " * 30])
    assert material.tokenizer.fingerprint == alone.fingerprint
    score = score_of(material)
    assert score is not None
    assert score(build_model(material.config.model), None).tokens > 0


def test_a_second_attempt_takes_its_own_tokenizer_and_text(tmp_path):
    text, run = tmp_path / "a.txt", tmp_path / "run"
    text.write_text("abc " * 40)
    source: dict[str, Any] = {"sources": [str(text)]}
    first = opened(config_for(**source, tokenizer="characters"), run).tokenizer
    assert opened(config_for(**source, tokenizer="characters"), run).tokenizer.n_vocab == 4
    gather(config_for(**source, tokenizer="words:5"), run, resume=True)
    assert open_tokenizer(run).fingerprint == first.fingerprint
    with pytest.raises(DataError, match="prepared with another tokenizer"):
        gather(config_for(**source, tokenizer="words:5"), run)
    text.write_text("abc " * 50)
    with pytest.raises(DataError, match="prepared with other sources"):
        gather(config_for(**source, tokenizer="characters"), run)
    lines = opened(config_for(**source, tokenizer="words:5", form="lines"), run)
    assert lines.tokenizer.fingerprint != first.fingerprint


def test_an_encoder_is_scored_on_a_stream(tmp_path):
    (tmp_path / "a.txt").write_text("some words " * 60)
    config = config_for("encoder", sources=[str(tmp_path / "a.txt")], tokenizer="characters")
    material = opened(config, tmp_path / "run")
    score = score_of(material)
    assert score is not None
    assert score(build_model(material.config.model), None).tokens > 0


def test_an_encoder_is_scored_inside_documents(tmp_path):
    """With `document_mask` the score on a stream is that of every document by itself."""
    texts = [f"{i} words and {i * i} more" for i in range(60)]
    (tmp_path / "a.txt").write_text("|".join(texts))
    source: dict[str, Any] = {"sources": [str(tmp_path / "a.txt")], "separator": "|"}
    source |= {"tokenizer": "bytes:270", "validation": 0.5}

    def material_of(name: str, **data: Any) -> Any:
        config = config_for("encoder", **source, **data)
        relative = config.model.replace(position="rope")  # a document may stand anywhere
        return opened(replace(config, model=relative), tmp_path / name)

    material = material_of("run", document_mask=True)
    torch.manual_seed(0)
    model: Any = build_model(material.config.model)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    end, ids = material.end, open_prepared(tmp_path / "run/data").validation.joined()
    like = material.dataset
    rows = Rows(list(windows_of(ids, ids, 16)), 16)
    masked = Masked(rows, like.mask_id, like.random_ids, like.share)
    total, scored, documents = 0.0, 0, 0
    for number, row in enumerate(rows.rows):
        batch = masked.mask(rows.stack([row]), np.array([number]))
        borders = [0, *(i for i, token in enumerate(row.inputs) if i and token == end)]
        for begin, stop in zip(borders, [*borders[1:], len(row.inputs)], strict=True):
            inputs, targets = batch.inputs[:, begin:stop], batch.targets[:, begin:stop]
            total += model(inputs, targets, reduction="sum")[1].item()
            scored += int((targets != IGNORE).sum())
            documents += 1
    assert documents > 1.5 * len(rows.rows) > 20
    score, other = score_of(material), score_of(material_of("other"))
    assert score is not None and other is not None
    found = score(model, None)
    assert found.tokens == scored and found.loss == pytest.approx(total / scored, rel=1e-5)
    across = other(model, None)
    assert across.tokens == scored and across.loss != pytest.approx(found.loss, rel=1e-3)


@pytest.mark.parametrize("data", [{"form": "lines"}, {"min_length": 4}])
def test_tokens_of_padded_rows_are_no_end(tmp_path, data):
    mapping = {"train": {"tokens": 1000}, "data": data}
    with pytest.raises(ConfigError, match=r"train.tokens counts windows .* give train.steps"):
        run_training(mapping, tmp_path / "run", Silent())


def test_a_word_model_has_no_bits_per_byte(tmp_path):
    (tmp_path / "a.txt").write_text("one two  three " * 40)
    config = config_for(sources=[str(tmp_path / "a.txt")], tokenizer="words:20")
    material = opened(config, tmp_path / "run")
    score = score_of(material)
    assert score is not None
    assert score(build_model(material.config.model), None).bits_per_byte is None


def test_what_does_not_fit_is_told(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("some text")
    source = {"sources": [str(text)], "tokenizer": "characters"}
    for config, message in [
        (config_for("encoder-decoder", **source), "pairs are for an encoder-decoder"),
        (config_for("encoder-decoder", **source, form="pairs"), "lines of JSON"),
        (config_for(sources=[str(text)]), "needs data.tokenizer"),
        (config_for(form="lines"), "needs data.sources"),
        (config_for(), "must name a folder"),
    ]:
        with pytest.raises((ConfigError, DataError), match=message):
            opened(config, tmp_path / message[:7])
    with pytest.raises(DataError, match=r"row 0 has 20 tokens, model.block_size is 16"):
        Rows([Row(np.arange(20), np.arange(20))], 16)
    with pytest.raises(ValueError, match="belongs to form = 'stream'"):
        DataConfig(form="lines", min_length=4)


def test_pairs_are_read_and_split(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"source": "ab", "target": chr(97 + i % 26) + "x"} for i in range(200)]
    path.write_text("\n".join(map(json.dumps, rows)))
    config = config_for(
        "encoder-decoder", sources=[str(path)], tokenizer="characters", form="pairs", validation=0.5
    )
    material = opened(config, tmp_path / "run")
    assert 0 < material.dataset.n_windows < 200
    path.write_text('{"source": "ab"}\n')
    with pytest.raises(ConfigError, match=r"byte 0: expected texts under 'source' and 'target'"):
        opened(config, tmp_path / "other")


def test_evaluating_by_epochs_and_counting_real_tokens():
    torch.manual_seed(0)
    rows = random_rows(20)
    steps = []

    class Watch:
        def on_message(self, text): ...
        def on_step(self, metrics): ...
        def on_eval(self, metrics):
            steps.append((metrics["step"], metrics["epoch"]))

    data = Rows(rows, 16)
    model = build_model(GPTConfig(**SHAPE))
    config = TrainConfig(epochs=3, batch_size=8, eval_epochs=1, compile="off", dtype="float32")
    trainer = Trainer(
        model,
        data,
        config,
        evaluate=lambda m: evaluate_rows(m, row_batches(data, 30)),
        reporter=Watch(),
    )
    result = trainer.fit()
    assert steps == [(3, 1.2), (5, 2.0), (8, 3.2)] and result.step == 8
    assert result.tokens == sum(len(data.rows[i].inputs) for i in data.places(np.arange(64)))
