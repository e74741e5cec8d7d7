"""Rows from the sources of a configuration: lines, pairs and conversations, in two splits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from gptpy.config.run import RunConfig
from gptpy.data.chat import Message, chat_row, conversation_of, segments
from gptpy.data.ids import DataError
from gptpy.data.prepare import PrepareOptions, share, split_texts
from gptpy.data.prepared import SPLITS
from gptpy.data.rows import Row, line_rows, pair_of, pair_rows
from gptpy.data.sources import json_rows, list_slices
from gptpy.tokenizer import Tokenizer
from gptpy.tokenizer.reserved import Reserved

Splits = tuple[list[Row], list[Row]]


def split_options(config: RunConfig) -> PrepareOptions:
    """How sources fall into training and validation: all train where others validate."""
    data = config.data
    held_back = 0.0 if data.validation_sources else data.validation
    return PrepareOptions(data.field, data.separator, held_back, config.train.seed)


def read_rows(
    config: RunConfig,
    sources: Sequence[str],
    held_out: Sequence[str],
    tokenizer: Tokenizer,
    reserved: Reserved,
    say: Callable[[str], None],
) -> Splits:
    """The rows to train on and those that validate: `held_out`, or a share of `sources`."""
    by_form = {"lines": _lines, "pairs": _pairs, "chat": _chats}
    read = by_form[config.data.form]
    train = list(read(config, sources, "train", tokenizer, reserved, say))
    where = held_out or sources
    split = "all" if held_out else "validation"
    return train, list(read(config, where, split, tokenizer, reserved, say))


def plain_texts(config: RunConfig, sources: Sequence[str], splits: Sequence[str]) -> Iterator[str]:
    """All text of `splits` without its form: what a tokenizer is trained on."""
    if config.data.form == "pairs":
        for pair, split in _split_pairs(config, sources):
            if split in splits:
                yield from pair
    elif config.data.form == "chat":
        for messages, split in _split_chats(config, sources):
            if split in splits:
                yield "".join(s.text for s in segments(messages, config.data.template))
    else:
        yield from split_texts(sources, split_options(config), splits)


def _lines(
    config: RunConfig,
    sources: Sequence[str],
    split: str,
    tokenizer: Tokenizer,
    reserved: Reserved,
    say: Callable[[str], None],
) -> Iterator[Row]:
    texts = split_texts(sources, split_options(config), SPLITS if split == "all" else (split,))
    return line_rows(
        (text for text in texts if text.strip()),
        tokenizer,
        config.model.block_size,
        end=reserved.end,
        stride=config.data.stride,
        causal=config.model.architecture != "encoder",
    )


def _pairs(
    config: RunConfig,
    sources: Sequence[str],
    split: str,
    tokenizer: Tokenizer,
    reserved: Reserved,
    say: Callable[[str], None],
) -> Iterator[Row]:
    found = _split_pairs(config, sources)
    wanted = (pair for pair, its in found if split in ("all", its))
    return pair_rows(wanted, tokenizer, end=reserved.end)


def _chats(
    config: RunConfig,
    sources: Sequence[str],
    split: str,
    tokenizer: Tokenizer,
    reserved: Reserved,
    say: Callable[[str], None],
) -> Iterator[Row]:
    """Conversations that fit into the model's context; the others are left out, and told of."""
    block, found, long = config.model.block_size, 0, 0
    for messages, its in _split_chats(config, sources):
        if split not in ("all", its):
            continue
        found += 1
        row = chat_row(messages, tokenizer, config.data.template, reserved.end)
        if len(row.inputs) > block:
            long += 1
            continue
        yield row
    if long:
        left = f"{long:,} of {found:,} conversations are longer than {block} tokens"
        if long == found and split == "train":
            raise DataError(f"{left} (model.block_size): there is nothing to learn from")
        say(f"{left} (model.block_size) and were left out")


def _split_pairs(
    config: RunConfig, sources: Sequence[str]
) -> Iterator[tuple[tuple[str, str], str]]:
    """Pairs, each with the split that its text decides."""
    for piece in list_slices(sources):
        for row, where in json_rows(piece):
            pair = pair_of(row, where)
            yield pair, _split_of("\0".join(pair), config)


def _split_chats(config: RunConfig, sources: Sequence[str]) -> Iterator[tuple[list[Message], str]]:
    for piece in list_slices(sources):
        for row, where in json_rows(piece):
            messages = conversation_of(row, where)
            yield messages, _split_of(json.dumps(row, sort_keys=True), config)


def _split_of(text: str, config: RunConfig) -> str:
    options = split_options(config)
    return "validation" if share(text, options.seed) < options.validation else "train"
