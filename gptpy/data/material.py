"""What a run learns from and what validates it, as the `[data]` of its configuration says."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig
from gptpy.data.ids import DataError
from gptpy.data.masking import Masked
from gptpy.data.prepare import prepare
from gptpy.data.prepared import SPLITS, Prepared, Split
from gptpy.data.row_sources import plain_texts, read_rows, split_options
from gptpy.data.rows import Rows, windows_of
from gptpy.data.splits import OWN_DATA, OWN_VALIDATION, open_splits, training_data
from gptpy.data.text import default_text
from gptpy.storage import atomic
from gptpy.tokenizer import (
    FILE_NAME,
    Tokenizer,
    make_tokenizer,
    open_tokenizer,
    save_tokenizer,
)
from gptpy.tokenizer.reserved import Reserved, reserve

SHAKESPEARE = "shakespeare"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """The tokenizer, a data set for `Trainer`, and what validates."""

    tokenizer: Tokenizer
    config: RunConfig
    """The configuration with the vocabulary that the data needs."""
    dataset: Any
    held_out: Split | Rows | Masked | None
    """Ids in a row or rows of their own; None where nothing validates."""
    end: int | None
    """The id that closes a text, or None where texts have no end."""


def gather(
    config: RunConfig, run_dir: Path, say: Say = lambda text: None, *, resume: bool = False
) -> None:
    """What one process does before all open the material: sources to tokenizer and id shards.

    Only `resume` takes what is there as it is; else `DataError` where an earlier attempt prepared
    other sources or with another tokenizer.
    """
    data = config.data
    if not data.sources:
        return
    if not data.tokenizer:
        raise ConfigError("data.sources needs data.tokenizer: a name, a file, or bytes:4096")
    run_dir.mkdir(parents=True, exist_ok=True)
    sources, held_out = _found(data.sources, run_dir, say), _found(data.validation_sources, run_dir)
    options = split_options(config)
    if not (resume and (run_dir / FILE_NAME).is_file()):
        # Bytes spell any text, and words have an id for the unknown; characters must all be seen
        characters = data.tokenizer == "characters"
        splits = SPLITS if characters else ("train",)
        seen = [*sources, *held_out] if characters else sources
        tokenizer = make_tokenizer(data.tokenizer, lambda: plain_texts(config, seen, splits))
        save_tokenizer(tokenizer, run_dir)
    if data.form == "stream":
        tokenizer = open_tokenizer(run_dir)
        for folder, texts in ((OWN_DATA, sources), (OWN_VALIDATION, held_out)):
            there = resume and (run_dir / folder / "manifest.json").is_file()
            if texts and not there:
                prepare(texts, tokenizer, run_dir / folder, options, say=say)


def open_material(
    config: RunConfig,
    run_dir: Path,
    *,
    fixed_vocabulary: bool = False,
    say: Say = lambda text: None,
) -> Material:
    """Open what `gather` left, or the prepared folder `data.train`.

    The model's vocabulary follows the data unless `fixed_vocabulary`. Raises `ConfigError` or
    `DataError` for what is missing or does not fit the model.
    """
    data, architecture = config.data, config.model.architecture
    if (architecture == "encoder-decoder") != (data.form == "pairs"):
        raise ConfigError(
            f"model.architecture = {architecture!r} with data.form = {data.form!r}: pairs are for "
            "an encoder-decoder, and it needs them"
        )
    if architecture == "bigram" and data.document_mask:
        raise ConfigError("data.document_mask: a bigram sees one token only, leave it out")
    prepared = None
    if data.form == "stream":
        prepared = open_splits(config, run_dir)
        tokenizer = open_tokenizer(prepared.folder)
        if tokenizer.fingerprint != prepared.fingerprint:
            raise DataError(
                f"{prepared.folder}: its shards were written with tokenizer "
                f"{prepared.fingerprint[:12]}, the tokenizer.json beside them is "
                f"{tokenizer.fingerprint[:12]}: prepare the data again"
            )
    elif not data.sources:
        raise ConfigError(f"data.form = {data.form!r} needs data.sources")
    else:
        tokenizer = open_tokenizer(run_dir)
    reserved = reserve(tokenizer, architecture, data.form)
    if not fixed_vocabulary:
        model = config.model.replace(vocab_size=reserved.vocab_size)
        config = replace(config, model=model)
    elif config.model.vocab_size < reserved.vocab_size:
        raise ConfigError(
            f"the data has {reserved.vocab_size} ids, but model.vocab_size is "
            f"{config.model.vocab_size}: set model.vocab_size {reserved.vocab_size}"
        )
    if prepared is not None:
        return _stream(config, prepared, tokenizer, reserved)
    return _rows(config, run_dir, tokenizer, reserved, say)


def _stream(
    config: RunConfig, prepared: Prepared, tokenizer: Tokenizer, reserved: Reserved
) -> Material:
    dataset: Any = training_data(prepared, config)
    split, end = prepared.validation, prepared.end_of_text
    if config.model.architecture != "encoder":
        held_out = split if split.n_ids else None
        return Material(tokenizer, config, dataset, held_out, end)
    dataset = _masked(dataset, config, tokenizer, reserved)
    if not split.n_ids:
        return Material(tokenizer, config, dataset, None, end)
    ids, block = split.joined(), config.model.block_size
    border = end if config.data.document_mask else None
    rows = Rows(list(windows_of(ids, ids, block)), block, key_padding=True, end_of_text=border)
    return Material(tokenizer, config, dataset, _masked(rows, config, tokenizer, reserved), end)


def _rows(
    config: RunConfig, run_dir: Path, tokenizer: Tokenizer, reserved: Reserved, say: Say
) -> Material:
    data = config.data
    sources, others = _found(data.sources, run_dir), _found(data.validation_sources, run_dir)
    train, validation = read_rows(config, sources, others, tokenizer, reserved, say)
    block, encoder = config.model.block_size, config.model.architecture == "encoder"
    dataset: Any = Rows(train, block, seed=config.train.seed, key_padding=encoder)
    held_out: Any = Rows(validation, block, key_padding=encoder) if validation else None
    if encoder:
        dataset = _masked(dataset, config, tokenizer, reserved)
        held_out = held_out and _masked(held_out, config, tokenizer, reserved)
    return Material(tokenizer, config, dataset, held_out, reserved.end)


def _masked(data: Any, config: RunConfig, tokenizer: Tokenizer, reserved: Reserved) -> Masked:
    return Masked(data, reserved.mask, tokenizer.n_vocab, config.data.mask_share)


def _found(sources: Sequence[str], run_dir: Path, say: Say = lambda text: None) -> list[str]:
    """Where the sources lie: as they are named, or in `$GPTPY_DATA_DIR`; or Tiny Shakespeare."""
    found = []
    for source in sources:
        kept = run_dir / f"{SHAKESPEARE}.txt"
        elsewhere = Path(os.environ.get("GPTPY_DATA_DIR", "")) / source
        if source == SHAKESPEARE:
            if not kept.is_file():
                text = default_text()
                say(text.note or f"{text.name}: {len(text.data):,} bytes")
                atomic.write_bytes(kept, text.data)
            source = str(kept)
        elif not source.startswith("hf:") and not Path(source).exists() and elsewhere.exists():
            source = str(elsewhere)
        found.append(source)
    return found
