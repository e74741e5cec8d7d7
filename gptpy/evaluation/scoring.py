"""The score of a model on what a run holds out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from gptpy.data.material import Material
from gptpy.data.prepared import Split
from gptpy.data.rows import Rows
from gptpy.devices.processes import World
from gptpy.evaluation.loss import Evaluation, evaluate, tokens_of_batch
from gptpy.evaluation.rows import evaluate_rows, exact_share, row_batches
from gptpy.tokenizer import Tokenizer, end_of_text, is_lossless

Score = Callable[[Any, torch.dtype | None], Evaluation]


def score_of(
    material: Material,
    stride: int | None = None,
    *,
    tokens: int | None = None,
    world: World | None = None,
    stop: Callable[[], bool] | None = None,
) -> Score | None:
    """A function of a model and autocast's number type, or None where nothing is held out.

    `stride`: how far windows over a text advance, instead of the configuration's `eval_stride`;
    `tokens`: how many are scored, instead of its `eval_tokens`. The processes of `world` share the
    work. `stop` as for `evaluate`.
    """
    held_out = material.held_out
    tokens = tokens or material.config.train.eval_tokens
    if held_out is None:
        return None
    if isinstance(held_out, Split):
        stride = stride or material.config.train.eval_stride
        return _score_of_text(material, held_out, stride, tokens, world, stop)

    def score(model: Any, dtype: torch.dtype | None) -> Evaluation:
        vocab_size = material.config.model.vocab_size
        at_once = tokens_of_batch(model)
        batches = row_batches(held_out, vocab_size, tokens, batch_tokens=at_once)
        found = evaluate_rows(model, batches, dtype=dtype, world=world, stop=stop)
        if material.config.model.architecture == "encoder-decoder":
            assert isinstance(held_out, Rows) and material.end is not None
            exact = exact_share(
                model, held_out, material.end, tokens=tokens, world=world, stop=stop
            )
            return replace(found, exact=exact)
        return found

    return score


def _score_of_text(
    material: Material,
    split: Split,
    stride: int | None,
    tokens: int | None,
    world: World | None,
    stop: Callable[[], bool] | None,
) -> Score:
    end = material.end if material.config.data.document_mask else None

    def score(model: Any, dtype: torch.dtype | None) -> Evaluation:
        ids, n_bytes = text_part(split, material.tokenizer, tokens)
        return evaluate(
            model,
            ids,
            n_bytes=n_bytes,
            stride=stride,
            end_of_text=end,
            dtype=dtype,
            world=world,
            stop=stop,
        )

    return score


def text_part(split: Split, tokenizer: Tokenizer, tokens: int | None) -> tuple[Any, int | None]:
    """The first `tokens` ids of a split (None: all), and the bytes of their text.

    The bytes are None where the tokenizer does not keep them all.
    """
    ids = split.joined()
    if not is_lossless(tokenizer):
        return ids[:tokens], None
    if tokens is None or tokens >= len(ids):
        return ids, split.bytes
    end = end_of_text(tokenizer)  # stands between documents, no part of their text
    return ids[:tokens], len(tokenizer.decode_bytes([i for i in ids[:tokens].tolist() if i != end]))
