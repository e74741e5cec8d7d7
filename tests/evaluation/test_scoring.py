"""The score on what a run holds out: encoders on a stream, tokenizers that lose text."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.config.data import DataConfig
from gptpy.config.run import RunConfig
from gptpy.config.training import TrainConfig
from gptpy.data.dataset import IGNORE
from gptpy.data.material import gather, open_material
from gptpy.data.prepared import open_prepared
from gptpy.data.rows import Masked, Rows, windows_of
from gptpy.evaluation.scoring import score_of
from gptpy.model import build_model

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


def test_a_word_model_has_no_bits_per_byte(tmp_path):
    (tmp_path / "a.txt").write_text("one two  three " * 40)
    config = config_for(sources=[str(tmp_path / "a.txt")], tokenizer="words:20")
    material = opened(config, tmp_path / "run")
    score = score_of(material)
    assert score is not None
    assert score(build_model(material.config.model), None).bits_per_byte is None


def test_a_text_is_scored_up_to_a_number_of_tokens(tmp_path):
    (tmp_path / "a.txt").write_text("|".join(f"words ä {i}" for i in range(200)), encoding="utf-8")
    config = config_for(
        sources=[str(tmp_path / "a.txt")], tokenizer="bytes:270", separator="|", validation=0.5
    )
    material = opened(replace(config, train=replace(config.train, eval_tokens=40)), tmp_path / "r")
    model = build_model(material.config.model)
    some, every = score_of(material), score_of(material, tokens=10**9)
    assert some is not None and every is not None
    bounded, full = some(model, None), every(model, None)
    assert bounded.tokens == 40 < full.tokens and full.bytes == material.held_out.bytes  # type: ignore[union-attr]
    ids = material.held_out.joined()[:40].tolist()  # type: ignore[union-attr]
    text = material.tokenizer.decode(ids).replace("<|endoftext|>", "")
    assert bounded.bytes == len(text.encode())
    assert bounded.bits_per_byte is not None
