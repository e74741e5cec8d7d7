"""What pictures and reports of a run show: its own texts, its tokens and how frequent they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from gptpy.config.errors import ConfigError
from gptpy.data.errors import DataError
from gptpy.data.material import open_material
from gptpy.data.prepared import open_splits
from gptpy.data.rows import Masked, Row
from gptpy.report.attention import Source
from gptpy.report.embedding import token_label
from gptpy.runs.opening import Loaded

SHOWN_TOKENS = 32


def shown_ids(loaded: Loaded, text: str | None, at_most: int = SHOWN_TOKENS) -> list[int]:
    """The ids of `text`, or of the beginning of the validation data, at most so many.

    Raises `ConfigError` for a `text` without a token.
    """
    limit = min(at_most, loaded.config.model.block_size)
    if text is not None:
        ids = loaded.tokenizer.encode_ordinary(text)[:limit]
        if not ids:
            raise ConfigError("--text is empty: there is no token to show attention on")
        return ids
    prompt = loaded.config.train.sample_prompt
    if loaded.config.data.form == "stream" or not prompt.strip():
        try:
            ids = _own_ids(loaded, limit)
        except (ConfigError, DataError):
            ids = []  # the run's data is no longer there
        if ids:
            return ids
    if not prompt.strip():
        prompt = "The quick brown fox jumps over the lazy dog."
    try:
        return loaded.tokenizer.encode_ordinary(prompt)[: limit - 1]
    except ConfigError:  # a tokenizer of few characters, or of numbers
        return list(range(min(limit - 1, loaded.tokenizer.n_vocab)))


def _own_ids(loaded: Loaded, limit: int) -> list[int]:
    """The beginning of the validation data, or the first row."""
    if loaded.config.data.form == "stream":
        return open_splits(loaded.config, loaded.folder).validation.joined()[:limit].tolist()
    row = _own_rows(loaded)[0]
    return (row.inputs if row.source is None else row.source[:-1]).tolist()[:limit]


def _own_rows(loaded: Loaded) -> list[Row]:
    data = open_material(loaded.config, loaded.folder, fixed_vocabulary=True).dataset
    return (data.data if isinstance(data, Masked) else data).rows


def token_counts(loaded: Loaded, at_most: int = 1 << 24) -> np.ndarray | None:
    """How often each id occurs in the training data, `(vocab_size,)`; None where that is not known.

    Of more than `at_most` ids only that many are read, from every shard its share. They are not
    known for a run that began with another run's weights, or whose data is no longer there.
    """
    if loaded.config.train.init:
        return None
    size = loaded.config.model.vocab_size
    counts = np.zeros(size, np.int64)
    try:
        for part in _training_ids(loaded, at_most):
            ids = np.asarray(part)
            # Targets that are not scored are negative
            counts += np.bincount(ids[ids >= 0], minlength=size)[:size]
    except (ConfigError, DataError):
        return None
    return counts


def _training_ids(loaded: Loaded, at_most: int) -> Iterator[Sequence[int] | np.ndarray]:
    if loaded.config.data.form == "stream":
        shards = open_splits(loaded.config, loaded.folder).train.shards
        share = min(1.0, at_most / max(1, sum(map(len, shards))))
        yield from (shard[: math.ceil(len(shard) * share)] for shard in shards)
        return
    for row in _own_rows(loaded):
        yield from (ids for ids in (row.inputs, row.targets, row.source) if ids is not None)


def trained_tokens(loaded: Loaded, at_most: int = 1 << 24) -> list[int] | None:
    """The ids that occur in the training data, in order; None where `token_counts` is None."""
    counts = token_counts(loaded, at_most)
    return None if counts is None else np.flatnonzero(counts).tolist()


def most_frequent(counts: np.ndarray, count: int) -> list[int]:
    """The ids with the largest `counts`, most frequent first, none that does not occur."""
    order = np.argsort(-counts, kind="stable")[:count]
    return order[counts[order] > 0].tolist()


def labels_of(loaded: Loaded, ids: Sequence[int]) -> list[str]:
    """The text of each id; the end-of-text by name."""
    end = loaded.end_of_text
    return ["<end>" if i == end else token_label(loaded.tokenizer, i) for i in ids]


def translated(loaded: Loaded, ids: Sequence[int]) -> tuple[list[int], Source]:
    """For an encoder-decoder: its greedy reply to `ids`, and the source as ids and labels."""
    end = loaded.end_of_text
    assert end is not None, "a run on pairs has an end"
    read = torch.tensor([[*ids, end]])
    begin = torch.tensor([[end]])
    written = loaded.model.generate(begin, SHOWN_TOKENS, temperature=0, eos_id=end, source=read)
    return written[0, :-1].tolist(), ([*ids, end], labels_of(loaded, [*ids, end]))
