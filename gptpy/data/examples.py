"""Examples from the sources of a configuration: documents, pairs, conversations, and their rows.

What an example is follows from `data.form`. Each falls into one split, by its own bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gptpy.config.run import RunConfig
from gptpy.data.chat import chat_row, conversation_of, segments
from gptpy.data.documents import SPLITS, PrepareOptions, split_of, split_texts
from gptpy.data.errors import DataError
from gptpy.data.rows import Row, line_rows, pair_of, pair_rows
from gptpy.data.sources import json_rows, list_slices
from gptpy.runs.progress import Reporter
from gptpy.tokenizer import Tokenizer
from gptpy.tokenizer.reserved import Reserved


def prepare_options(config: RunConfig) -> PrepareOptions:
    """How sources become documents; with sources of their own to validate, all others train."""
    data = config.data
    return PrepareOptions(
        data.field,
        data.separator,
        0.0 if data.validation_sources else data.validation,
        config.train.seed,
        append_end_of_text=data.append_end_of_text,
    )


def examples(
    config: RunConfig, sources: Sequence[str], splits: Sequence[str] = SPLITS
) -> Iterator[Any]:
    """The examples of `sources` that fall into `splits`.

    A text for the forms "stream" and "lines", `(source, target)` for "pairs", a list of `Message`
    for "chat". Raises `DataError` for a line that holds no example.
    """
    options = prepare_options(config)
    if config.data.form in ("stream", "lines"):
        yield from split_texts(sources, options, splits)
        return
    for piece in list_slices(sources):
        for line, where in json_rows(piece):
            if config.data.form == "pairs":
                example: Any = pair_of(line, where)
                identity = "\0".join(example)
            else:
                example = conversation_of(line, where)
                identity = json.dumps(line, sort_keys=True)
            if split_of([identity.encode("utf-8")], options) in splits:
                yield example


def plain_texts(config: RunConfig, sources: Sequence[str], splits: Sequence[str]) -> Iterator[str]:
    """The text of the examples in `splits`, for training a tokenizer."""
    for example in examples(config, sources, splits):
        if config.data.form == "pairs":
            yield from example
        elif config.data.form == "chat":
            yield "".join(part.text for part in segments(example, config.data.template))
        else:
            yield example


@dataclass(frozen=True)
class RowReader:
    """Makes rows of the examples of a configuration."""

    config: RunConfig
    tokenizer: Tokenizer
    reserved: Reserved
    reporter: Reporter

    def training(self, sources: Sequence[str]) -> list[Row]:
        """The rows to train on. Raises `DataError` where no conversation fits into the context."""
        return list(self._rows(examples(self.config, sources, ["train"]), required=True))

    def validation(self, sources: Sequence[str], validation_sources: Sequence[str]) -> list[Row]:
        """All rows of `validation_sources` if there are any, else a share of those of `sources`."""
        if validation_sources:
            return list(self._rows(examples(self.config, validation_sources)))
        return list(self._rows(examples(self.config, sources, ["validation"])))

    def _rows(self, found: Iterable[Any], *, required: bool = False) -> Iterator[Row]:
        config, end = self.config, self.reserved.end
        if config.data.form == "pairs":
            return pair_rows(found, self.tokenizer, end=end)
        if config.data.form == "chat":
            return self._chat_rows(found, required=required)
        return line_rows(
            (text for text in found if text.strip()),
            self.tokenizer,
            config.model.block_size,
            end=end,
            stride=config.data.stride,
            causal=config.model.architecture != "encoder",
        )

    def _chat_rows(self, conversations: Iterable[Any], *, required: bool) -> Iterator[Row]:
        """Conversations that fit into the model's context; a message says how many do not."""
        block_size, count, too_long = self.config.model.block_size, 0, 0
        for messages in conversations:
            count += 1
            template = self.config.data.template
            row = chat_row(messages, self.tokenizer, template, self.reserved.end)
            if len(row.inputs) <= block_size:
                yield row
            else:
                too_long += 1
        if not too_long:
            return
        left_out = f"{too_long:,} of {count:,} conversations are longer than {block_size} tokens"
        if too_long == count and required:
            raise DataError(f"{left_out} (model.block_size): there is nothing to learn from")
        self.reporter.on_message(f"{left_out} (model.block_size) and were left out")
