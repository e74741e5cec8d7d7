"""What a run is trained on and validated on, as the `[data]` of its configuration says.

`gather` turns sources into a tokenizer and id shards in the run directory, once; `open_material`
opens what it left, in every process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig
from gptpy.data.dataset import Dataset
from gptpy.data.documents import SPLITS, training_files
from gptpy.data.errors import DataError
from gptpy.data.examples import RowReader, plain_texts, prepare_options
from gptpy.data.prepare import prepare
from gptpy.data.prepared import MANIFEST, OWN_DATA, OWN_VALIDATION, Prepared, Split, open_splits
from gptpy.data.rows import Masked, Rows, windows_of
from gptpy.data.text import default_text
from gptpy.runs.progress import Reporter, Silent
from gptpy.storage import atomic
from gptpy.tokenizer import (
    FILE_NAME,
    Tokenizer,
    make_tokenizer,
    open_tokenizer,
    save_tokenizer,
)
from gptpy.tokenizer.opening import Reserved, reserve

SHAKESPEARE = "shakespeare"


@dataclass(frozen=True)
class Material:
    """A tokenizer, a data set for `Trainer`, and what validates."""

    tokenizer: Tokenizer
    config: RunConfig
    """The configuration, with the vocabulary size that the data needs."""
    dataset: Any
    held_out: Split | Rows | Masked | None
    """Ids in one sequence, or rows; None where nothing validates."""
    end: int | None
    """The id that ends a text, or None where there is none."""


def gather(
    config: RunConfig,
    run_dir: Path,
    reporter: Reporter | None = None,
    *,
    resume: bool = False,
    progress: Callable[[Any], object] | None = None,
) -> None:
    """Make the tokenizer and the id shards of a run with sources; one process calls it.

    `progress`: for `make_tokenizer` (default: a line to `reporter` every few seconds). With
    `resume`, what is there already is kept as it is. Without, `DataError` where an earlier attempt
    prepared other sources or with another tokenizer.
    """
    data, reporter = config.data, reporter or Silent()
    if not data.sources:
        return
    if not data.tokenizer:
        raise ConfigError("data.sources needs data.tokenizer: a name, a file, or bytes:4096")
    run_dir.mkdir(parents=True, exist_ok=True)
    sources = _found(data.sources, run_dir, reporter)
    validation_sources = _found(data.validation_sources, run_dir)
    if not (resume and (run_dir / FILE_NAME).is_file()):
        if data.tokenizer.partition(":")[0] in ("bytes", "words", "characters"):
            reporter.on_message(f"training the tokenizer {data.tokenizer}")
        progress = progress or training_lines(reporter)
        tokenizer = _make_tokenizer(config, sources, validation_sources, run_dir, progress)
        save_tokenizer(tokenizer, run_dir)
    if data.form == "stream":
        tokenizer = open_tokenizer(run_dir)
        options = prepare_options(config)
        for folder, texts in ((OWN_DATA, sources), (OWN_VALIDATION, validation_sources)):
            finished = resume and (run_dir / folder / MANIFEST).is_file()
            if texts and not finished:
                prepare(texts, tokenizer, run_dir / folder, options, reporter=reporter)


def _make_tokenizer(
    config: RunConfig,
    sources: Sequence[str],
    validation_sources: Sequence[str],
    run_dir: Path,
    progress: Callable[[Any], object],
) -> Tokenizer:
    """The tokenizer that `data.tokenizer` means, trained on the training split where it is new.

    A tokenizer of characters has no id for a character it has not seen, so it sees all text. One of
    bytes is trained from files where it can be, with bounded memory.
    """
    spec, options = config.data.tokenizer, prepare_options(config)
    if spec == "characters":
        everything = [*sources, *validation_sources]
        return make_tokenizer(spec, lambda: plain_texts(config, everything, SPLITS))
    if spec.startswith("bytes:") and config.data.form in ("stream", "lines"):
        with training_files(sources, options, run_dir) as files:
            if files is not None:
                return make_tokenizer(spec, lambda: files, progress=progress)
    texts = lambda: plain_texts(config, sources, ["train"])  # noqa: E731
    return make_tokenizer(spec, texts, progress=progress)


def training_lines(reporter: Reporter, every: float = 5.0) -> Callable[[Any], None]:
    """A function that tells `reporter` how far the training of a tokenizer is, now and then."""
    told = time.monotonic()

    def tell(progress: Any) -> None:
        nonlocal told
        if time.monotonic() - told >= every:
            told = time.monotonic()
            of = f" of {progress.total:,}" if progress.total else ""
            what = "bytes counted" if progress.phase == "count" else "merges"
            reporter.on_message(f"training the tokenizer: {progress.done:,}{of} {what}")

    return tell


def open_material(
    config: RunConfig,
    run_dir: Path,
    *,
    fixed_vocabulary: bool = False,
    reporter: Reporter | None = None,
) -> Material:
    """Open what `gather` left, or the prepared folder `data.train`.

    The model's vocabulary size follows the data unless `fixed_vocabulary`. Raises `ConfigError` or
    `DataError` for data that is missing or does not fit the model.
    """
    data, architecture = config.data, config.model.architecture
    if (architecture == "encoder-decoder") != (data.form == "pairs"):
        raise ConfigError(
            f"model.architecture = {architecture!r} with data.form = {data.form!r}: pairs are for "
            "an encoder-decoder, and it needs them"
        )
    if architecture == "bigram" and data.document_mask:
        raise ConfigError("data.document_mask: a bigram sees one token only, leave it out")
    if data.form == "stream":
        prepared = open_splits(config, run_dir)
        tokenizer = _tokenizer_of(prepared, run_dir)
    elif data.sources:
        prepared = None
        tokenizer = open_tokenizer(run_dir)
    else:
        raise ConfigError(f"data.form = {data.form!r} needs data.sources")
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
    return _rows(config, run_dir, tokenizer, reserved, reporter or Silent())


def _tokenizer_of(prepared: Prepared, run_dir: Path) -> Tokenizer:
    """The tokenizer beside the shards, or, in runs of older versions, the run's own."""
    folder = prepared.folder if (prepared.folder / FILE_NAME).is_file() else run_dir
    tokenizer = open_tokenizer(folder)
    if tokenizer.fingerprint != prepared.fingerprint:
        raise DataError(
            f"{prepared.folder}: its shards were written with tokenizer "
            f"{prepared.fingerprint[:12]}, the tokenizer.json in {folder} is "
            f"{tokenizer.fingerprint[:12]}: prepare the data again"
        )
    return tokenizer


def _stream(
    config: RunConfig, prepared: Prepared, tokenizer: Tokenizer, reserved: Reserved
) -> Material:
    """Windows of the prepared ids; an encoder is validated on masked rows of them."""
    split, end, block_size = prepared.validation, prepared.end_of_text, config.model.block_size
    dataset = Dataset(
        prepared.train.shards,
        block_size,
        seed=config.train.seed,
        end_of_text=end,
        document_mask=config.data.document_mask,
        min_length=config.data.min_length,
    )
    if config.model.architecture != "encoder":
        return Material(tokenizer, config, dataset, split if split.n_ids else None, end)
    held_out = None
    if split.n_ids:
        ids = split.joined()
        border = end if config.data.document_mask else None
        rows = Rows(
            list(windows_of(ids, ids, block_size)), block_size, key_padding=True, end_of_text=border
        )
        held_out = _masked(rows, config, tokenizer, reserved)
    return Material(tokenizer, config, _masked(dataset, config, tokenizer, reserved), held_out, end)


def _rows(
    config: RunConfig, run_dir: Path, tokenizer: Tokenizer, reserved: Reserved, reporter: Reporter
) -> Material:
    """Rows of the sources, which are read anew every time."""
    sources = _found(config.data.sources, run_dir)
    reader = RowReader(config, tokenizer, reserved, reporter)
    train, validation = reader.rows(sources, _found(config.data.validation_sources, run_dir))
    block_size, encoder = config.model.block_size, config.model.architecture == "encoder"
    dataset: Any = Rows(train, block_size, seed=config.train.seed, key_padding=encoder)
    held_out: Any = Rows(validation, block_size, key_padding=encoder) if validation else None
    if encoder:
        dataset = _masked(dataset, config, tokenizer, reserved)
        held_out = held_out and _masked(held_out, config, tokenizer, reserved)
    return Material(tokenizer, config, dataset, held_out, reserved.end)


def _masked(
    data: Dataset | Rows, config: RunConfig, tokenizer: Tokenizer, reserved: Reserved
) -> Masked:
    return Masked(data, reserved.mask, tokenizer.n_vocab, config.data.mask_share)


def _found(sources: Sequence[str], run_dir: Path, reporter: Reporter | None = None) -> list[str]:
    """Paths of the sources: as given, else inside `$GPTPY_DATA_DIR`; `shakespeare` as a copy."""
    found = []
    for source in sources:
        kept = run_dir / f"{SHAKESPEARE}.txt"
        elsewhere = Path(os.environ.get("GPTPY_DATA_DIR", "")) / source
        if source == SHAKESPEARE:
            if not kept.is_file():
                text = default_text()
                atomic.write_bytes(kept, text.data)
                (reporter or Silent()).on_message(
                    text.note or f"{text.name}: {len(text.data):,} bytes"
                )
            source = str(kept)
        elif not source.startswith("hf:") and not Path(source).exists() and elsewhere.exists():
            source = str(elsewhere)
        found.append(source)
    return found
