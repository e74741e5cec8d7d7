"""Examples from the sources of a configuration: documents, pairs, conversations, and their rows.

What an example is follows from `data.form`. Each falls into one split, by its own bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from gptpy.config.run import RunConfig
from gptpy.data.chat import chat_row, conversation_of, segments
from gptpy.data.documents import (
    PrepareOptions,
    both_sides,
    share_of,
    split_texts,
    texts_with_shares,
)
from gptpy.data.errors import DataError
from gptpy.data.rows import Row, line_rows, pair_of, pair_rows
from gptpy.data.sources import json_rows, list_slices
from gptpy.runs.progress import Reporter, counted
from gptpy.tokenizer import Tokenizer
from gptpy.tokenizer.opening import Reserved


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
    config: RunConfig, sources: Sequence[str], reporter: Reporter | None = None
) -> Iterator[tuple[float, Any]]:
    """The examples of `sources`, each with the share, in 0..1, that decides its split.

    A text for the form "lines", `(source, target)` for "pairs", a list of `Message` for "chat". A
    single text is cut in two. Raises `DataError` for a line that holds no example.
    """
    options = prepare_options(config)
    if config.data.form in ("stream", "lines"):
        yield from texts_with_shares(sources, options, reporter)
        return
    for piece in list_slices(sources, reporter=reporter):
        for line, where in json_rows(piece):
            if config.data.form == "pairs":
                example: Any = pair_of(line, where)
                identity = "\0".join(example)
            else:
                example = conversation_of(line, where)
                identity = json.dumps(line, sort_keys=True)
            yield share_of([identity.encode("utf-8")], options), example


def plain_texts(config: RunConfig, sources: Sequence[str], splits: Sequence[str]) -> Iterator[str]:
    """The text of the examples in `splits`, for training a tokenizer."""
    options = prepare_options(config)
    if config.data.form in ("stream", "lines"):
        yield from split_texts(sources, options, splits)
        return
    train, validation = both_sides(examples(config, sources), options)
    sides: dict[str, list[Any]] = {"train": train, "validation": validation}
    for example in chain.from_iterable(sides[split] for split in splits):
        if config.data.form == "pairs":
            yield from example
        else:
            yield "".join(part.text for part in segments(example, config.data.template))


@dataclass(frozen=True)
class RowReader:
    """Makes rows of the examples of a configuration."""

    config: RunConfig
    tokenizer: Tokenizer
    reserved: Reserved
    reporter: Reporter

    def rows(
        self, sources: Sequence[str], validation_sources: Sequence[str]
    ) -> tuple[list[Row], list[Row]]:
        """The rows to train on and those to validate on.

        These are all of `validation_sources` if there are any, else a share of those of `sources`:
        at least one of two examples. Raises `DataError` where nothing can be learned from.
        """
        options = prepare_options(self.config)
        found = self._rows(sources, required=True)
        if not found:
            raise DataError(f"there is nothing to train on in {', '.join(sources)}")
        train, validation = both_sides(found, options)
        if validation_sources:
            validation = [rows for _, rows in self._rows(validation_sources)]
        elif options.validation and not validation:
            self.reporter.on_message("nothing validates: there is one example only, to train on")
        return list(chain.from_iterable(train)), list(chain.from_iterable(validation))

    def _rows(
        self, sources: Sequence[str], *, required: bool = False
    ) -> list[tuple[float, list[Row]]]:
        """The rows of each example that has some, with its share; a message says what is left out.

        A conversation that is longer than the model's context has none.
        """
        block_size, found, too_long, count = self.config.model.block_size, [], 0, 0
        for share, example in examples(self.config, sources, self.reporter):
            rows = self._rows_of(example)
            count += 1
            if self.config.data.form == "chat" and len(rows[0].inputs) > block_size:
                too_long += 1
            elif rows:
                found.append((share, rows))
        if too_long:
            be = "is" if too_long == 1 else "are"
            left_out = (
                f"{too_long:,} of {counted(count, 'conversation')} {be} longer than "
                f"{block_size} tokens "
                "(model.block_size)"
            )
            if required and not found:
                raise DataError(f"{left_out}: there is nothing to learn from")
            self.reporter.on_message(
                f"{left_out} and {'was' if too_long == 1 else 'were'} left out"
            )
        return found

    def _rows_of(self, example: Any) -> list[Row]:
        config, end = self.config, self.reserved.end
        if config.data.form == "pairs":
            return list(pair_rows([example], self.tokenizer, end=end))
        if config.data.form == "chat":
            return [chat_row(example, self.tokenizer, config.data.template, end)]
        return list(
            line_rows(
                [example] if example.strip() else [],
                self.tokenizer,
                config.model.block_size,
                end=end,
                stride=config.data.stride,
                causal=config.model.architecture != "encoder",
            )
        )
