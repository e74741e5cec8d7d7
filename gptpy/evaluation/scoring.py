"""The score of a model on what a run holds out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from gptpy.data.material import Material
from gptpy.data.prepared import Split
from gptpy.data.rows import Rows
from gptpy.evaluation.loss import Evaluation, evaluate
from gptpy.evaluation.rows import evaluate_rows, exact_share, row_batches
from gptpy.tokenizer import is_lossless

Score = Callable[[Any, torch.dtype | None], Evaluation]


def score_of(material: Material, stride: int | None = None) -> Score | None:
    """A function of a model and autocast's number type, or None where nothing is held out.

    `stride`: how far windows over a text advance, instead of the configuration's `eval_stride`.
    """
    held_out = material.held_out
    if held_out is None:
        return None
    if isinstance(held_out, Split):
        return _score_of_text(material, held_out, stride or material.config.train.eval_stride)

    def score(model: Any, dtype: torch.dtype | None) -> Evaluation:
        batches = row_batches(held_out, material.config.model.vocab_size)
        found = evaluate_rows(model, batches, dtype=dtype)
        if material.config.model.architecture == "encoder-decoder":
            assert isinstance(held_out, Rows) and material.end is not None
            return replace(found, exact=exact_share(model, held_out, material.end))
        return found

    return score


def _score_of_text(material: Material, split: Split, stride: int | None) -> Score:
    n_bytes = split.bytes if is_lossless(material.tokenizer) else None
    end = material.end if material.config.data.document_mask else None

    def score(model: Any, dtype: torch.dtype | None) -> Evaluation:
        return evaluate(
            model, split.joined(), n_bytes=n_bytes, stride=stride, end_of_text=end, dtype=dtype
        )

    return score
