"""What a run is trained and validated on: what sources become, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest

from gptpy.config import ConfigError, GPTConfig
from gptpy.config.data import DataConfig
from gptpy.config.run import RunConfig
from gptpy.config.training import TrainConfig
from gptpy.data import DataError
from gptpy.data.material import gather, open_material
from gptpy.data.rows import Row, Rows
from gptpy.evaluation.scoring import score_of
from gptpy.model import build_model
from gptpy.runs.progress import Silent
from gptpy.tokenizer import make_tokenizer, open_tokenizer

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 16,
    "vocab_size": 30,
    "block_size": 16,
}


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
        assert material.dataset.n_ids == len("first train. " * 30) + (form == "lines")
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


def test_data_that_does_not_fit_is_refused(tmp_path):
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
    with pytest.raises(ConfigError, match=r"line 1: expected texts under 'source' and 'target'"):
        opened(config, tmp_path / "other")


class Heard(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str) -> None:
        self.texts.append(text)


def rows_of(tmp_path, form: str, lines: list[Any], **data: Any) -> tuple[int, int, list[str]]:
    """How many rows of JSON lines train and validate, and what is said."""
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    architecture = "encoder-decoder" if form == "pairs" else "decoder"
    given: dict[str, Any] = {"sources": [str(path)], "tokenizer": "bytes:257", "form": form, **data}
    config, heard = config_for(architecture, **given), Heard()
    gather(config, tmp_path / "run")
    material = open_material(config, tmp_path / "run", reporter=heard)
    held_out: Any = material.held_out
    return len(material.dataset.rows), len(held_out.rows) if held_out else 0, heard.texts


LINES: dict[str, Any] = {
    "chat": {"prompt": "a", "response": "b"},
    "pairs": {"source": "a", "target": "b"},
    "lines": {"text": "ab"},
}


@pytest.mark.parametrize("form", LINES)
@pytest.mark.parametrize("count", [2, 30])
def test_equal_rows_do_not_all_go_one_way(tmp_path, form, count):
    template = {"user": "{content}", "assistant": "{content}"}
    more = {"template": template} if form == "chat" else {}
    found = rows_of(tmp_path, form, [LINES[form]] * count, **more)
    assert found == (count - 1, 1, [])
    assert rows_of(tmp_path / "run", form, [LINES[form]] * count, validation=0.0, **more)[1] == 0


@pytest.mark.parametrize("form", ["chat", "pairs"])
def test_a_single_row_trains_and_it_is_said_that_nothing_validates(tmp_path, form):
    template = {"user": "{content}", "assistant": "{content}"}
    more = {"template": template} if form == "chat" else {}
    for validation in (0.1, 0.9999):
        rows, held_out, said = rows_of(tmp_path, form, [LINES[form]], validation=validation, **more)
        assert (rows, held_out) == (1, 0) and "nothing validates" in said[-1]


def test_long_conversations_that_are_left_out_leave_some_to_validate(tmp_path):
    """Those that would have validated are all too long."""
    template = {"user": "{content}", "assistant": "{content}"}
    lines = [{"prompt": f"{i}", "response": "b" * (40 * (i % 4 != 0))} for i in range(12)]
    for share in (0.01, 0.3, 0.99):
        rows, held_out, said = rows_of(tmp_path, "chat", lines, template=template, validation=share)
        assert rows + held_out == 3 and rows and held_out
        assert "9 of 12 conversations are longer than 16 tokens" in said[-1]


def test_a_run_goes_on_with_its_own_data_only(tmp_path):
    """Texts of equal length, which no count tells apart."""
    found = []
    for text in ("abcd" * 40, "dcba" * 40):
        (tmp_path / "a.txt").write_text(text)
        for form in ("stream", "lines"):
            source: dict[str, Any] = {"sources": [str(tmp_path / "a.txt")], "form": form}
            config = config_for(**source, tokenizer="characters")
            found.append(opened(config, tmp_path / f"run{len(found)}").dataset.fingerprint)
    assert len(set(found)) == 4
