"""Everything on one text: tokenizer, data, model, training, evaluation, plots, a sample.

A recipe over the ordinary run: it chooses a configuration that suits the text and the time, then
trains as `gptpy train` does.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.config.files import merged, to_mapping
from gptpy.config.run import RunConfig, check_resume, over_run
from gptpy.data.errors import DataError
from gptpy.data.material import gather, open_material, training_lines
from gptpy.data.prepared import Prepared, open_splits
from gptpy.data.sources import is_plain_text
from gptpy.data.text import Text, check_text, copy_text, read_text
from gptpy.devices.selection import choose_device, choose_dtype
from gptpy.evaluation.loss import BATCH_TOKENS, evaluate
from gptpy.evaluation.scoring import EVERYTHING
from gptpy.inference.text import stream_text
from gptpy.model import build_model
from gptpy.report.attention import plot_attention
from gptpy.report.curves import plot_loss
from gptpy.report.style import load_drawing
from gptpy.runs import checkpoint
from gptpy.runs.metrics import append_metrics, append_text, read_metrics
from gptpy.runs.progress import Reporter, survive_full_disk
from gptpy.storage import atomic
from gptpy.storage.lock import only_writer
from gptpy.train.optimisers import build_optimizers
from gptpy.train.run import Trained, checked_config, train_on

MIN_BYTES = 1000
BYTES = "bytes:257"  # and end-of-text
VALIDATION = 0.1
SAMPLE_CHARACTERS = 400
# The share of what is left of a time budget after which a tokenizer that is still being trained is
# given up, and the seconds that it has at least
TOKENIZER_SHARE, MIN_TOKENIZER_SECONDS = 0.3, 2.0
# Part of a time budget is kept for the end, besides the final score: seconds for plots and sample,
# and a share for what other programs take meanwhile
SHOWING_SECONDS = 3.0
MARGIN = 0.03

# Found by search on two cores and Tiny Shakespeare
MODEL: dict[str, Any] = {
    "preset": "modern-1m",
    "norm_affine": False,
    "init_embedding_std": 1.0,
}
TRAIN: dict[str, Any] = {
    "batch_size": 16,
    # Compiling costs a good part of the time, and more tokens would not help: within the steps
    # below the model learns a text of this size by heart
    "compile": "off",
    "log_every": 10,
    # A batch for each of the twenty points of the curve; all of it is scored at the end
    "eval_tokens": BATCH_TOKENS,
    "optim": {
        "name": "muon",
        "muon_lr": 0.02,
        "muon_momentum_warmup": 200,
        "lr": 3e-3,
        "weight_decay": 0.0,
        "eps": 1e-10,
        "grad_clip": math.inf,
    },
    "schedule": {"kind": "wsd", "warmup_steps": 20, "decay_fraction": 0.6, "floor": 0.0},
}
REHEARSED_WINDOWS = 192
MAX_STEPS = 1800
MAX_EPOCHS = 12


@dataclass(frozen=True)
class Quickstart:
    """What `quickstart` made. `interrupted`: Ctrl-C came, and only a checkpoint was written."""

    run_dir: Path
    summary: dict[str, Any]
    sample: str
    interrupted: bool = False


def quickstart(
    text: Text | Path,
    run_dir: Path,
    reporter: Reporter,
    *,
    seconds: float = 165.0,
    started: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Quickstart:
    """Run everything on `text`, a file or a text in memory, and fill `run_dir`, a new folder.

    `seconds` bounds all of it, counted from `started` (a `time.perf_counter()`); `overrides` are
    nested tables over the built-in configuration. Raises `DataError`, before anything is written,
    for a text that is too short.
    """
    started = time.perf_counter() if started is None else started
    overrides = overrides or {}
    size = check_text(text) if isinstance(text, Path) else len(text.data)
    if size < MIN_BYTES:
        raise DataError(
            f"{text.name}: {size} bytes are too short to train on; at least "
            f"{MIN_BYTES} are needed, and a megabyte makes a better model"
        )
    if isinstance(text, Text) and text.note:
        reporter.on_message(text.note)
    with only_writer(run_dir):
        source = _source(text, size, run_dir)
        data = _data(source, size)
        train = {**TRAIN, "seconds": seconds}
        tables = {"model": MODEL, "data": data, "train": train}
        config, _ = checked_config(merged(tables, overrides))
        if config.data.form != "stream" or config.model.architecture.startswith("encoder"):
            raise ConfigError("quickstart trains a decoder on a stream of text: use `gptpy train`")
        if source != text:
            copy_text(text, source)
        # Marks the folder as a quickstart's, should the job end before its training begins
        atomic.write_text(run_dir / "config.toml", config.to_toml())
        data["tokenizer"] = _gather(config, run_dir, reporter, started, seconds)
        prepared = open_splits(config, run_dir)
        if not prepared.validation.n_ids:
            raise ConfigError("quickstart needs text to validate on: set data.validation above 0")
        recipe = {"data": data, **_recipe(prepared.train.n_ids, seconds)}
        config, fixed_vocabulary = checked_config(merged(recipe, overrides))
        material = open_material(config, run_dir, fixed_vocabulary=fixed_vocabulary)
        reporter.on_message(
            f"{text.name}: {size:,} bytes, {prepared.vocab_size} tokens in the "
            f"vocabulary, {prepared.train.bytes / prepared.train.n_ids:.2f} bytes a token"
        )
        scoring = _rehearse(material.config, prepared)
        left = training_seconds(seconds, time.perf_counter() - started, scoring)
        seconds = overrides.get("train", {}).get("seconds", left)
        train = replace(material.config.train, seconds=float(seconds))
        material = replace(material, config=replace(material.config, train=train))
        return _show(train_on(material, run_dir, reporter), run_dir, prepared, reporter, started)


def resume(
    run_dir: Path,
    reporter: Reporter,
    *,
    text: Text | Path | None = None,
    seconds: float | None = None,
    started: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Quickstart:
    """Go on with an interrupted `quickstart` from its last checkpoint.

    `text`, where given, must be the run's. `seconds` is a new budget for everything; `overrides`
    may change what any resume may change. Raises `ConfigError` naming what cannot go on.
    """
    started = time.perf_counter() if started is None else started
    no_checkpoint = ConfigError(
        f"{run_dir}: there is no quickstart to resume (no checkpoint): give the command that "
        "began it again, without --resume"
    )
    if not run_dir.is_dir():
        raise no_checkpoint
    if (run_dir / "summary.json").is_file():
        raise ConfigError(
            f"{run_dir}: this quickstart has come to its end: take another -o, or train on with "
            f"`gptpy train --resume -o {run_dir} --train.steps N`"
        )
    with only_writer(run_dir):
        if not checkpoint.steps(run_dir):
            raise no_checkpoint
        run = checkpoint.read_config(run_dir)
        if run.data.form != "stream" or run.model.architecture != "decoder":
            raise ConfigError(
                f"{run_dir}: was not begun by quickstart: `gptpy train --resume -o {run_dir}`"
            )
        if text is not None:
            _check_text(text, run, run_dir)
        config = RunConfig.from_mapping(over_run(to_mapping(run), overrides or {}))
        check_resume(run, config)
        if seconds is not None:
            left = training_seconds(seconds, time.perf_counter() - started, 0.0)
            config = replace(config, train=replace(config.train, seconds=left))
        material = open_material(config, run_dir, fixed_vocabulary=True)
        trained = train_on(material, run_dir, reporter, resume=True)
        return _show(trained, run_dir, open_splits(config, run_dir), reporter, started)


def _check_text(text: Text | Path, run: RunConfig, run_dir: Path) -> None:
    """`ConfigError` where `text` is not what the run was begun with."""
    source = Path(run.data.sources[0]) if run.data.sources else run_dir / "text.txt"
    if isinstance(text, Path) and source.exists() and text.samefile(source):
        return
    data = read_text(text) if isinstance(text, Path) else text.data
    if not source.is_file() or read_text(source) != data:
        raise ConfigError(
            f"{run_dir}: was begun with {source}, not with {text.name}: leave TEXT out, or take "
            "another -o"
        )


def _gather(
    config: RunConfig, run_dir: Path, reporter: Reporter, started: float, seconds: float
) -> str:
    """Tokenizer and ids, in the time that there is; returns the tokenizer's specification."""
    tell, begin = training_lines(reporter), time.perf_counter()
    limit = max(MIN_TOKENIZER_SECONDS, TOKENIZER_SHARE * (seconds - (begin - started)))

    def progress(report: Any) -> None:
        tell(report)
        if time.perf_counter() - begin > limit:
            raise _TimeIsUpError

    try:
        gather(config, run_dir, reporter, progress=progress)
        return config.data.tokenizer
    except _TimeIsUpError:
        reporter.on_message(
            f"the tokenizer was not trained within {limit:.0f} seconds of the time: bytes are the "
            "tokens"
        )
    config = replace(config, data=replace(config.data, tokenizer=BYTES))
    gather(config, run_dir, reporter)
    return BYTES


class _TimeIsUpError(Exception):
    """Stops the training of a tokenizer."""


def _source(text: Text | Path, size: int, run_dir: Path) -> Path:
    """Where the text is read from: in place if `gptpy prepare` reads the same, else from a copy.

    A file needs a copy if its name does not say that it is text, or for its byte order mark.
    """
    if isinstance(text, Path) and is_plain_text(text) and text.stat().st_size == size:
        return text
    return run_dir / "text.txt"


def _data(source: Path, size: int) -> dict[str, Any]:
    """`[data]` for a text of `size` bytes; a small one gets a small vocabulary."""
    vocabulary = min(512, 258 + int((1 - VALIDATION) * size) // 2000)
    return {
        "sources": [str(source.resolve())],
        "tokenizer": f"bytes:{vocabulary}",
        "validation": VALIDATION,
        "append_end_of_text": False,
    }


def _recipe(n_ids: int, seconds: float) -> dict[str, Any]:
    """`[model]` and `[train]` for `n_ids` to train on; few get a short context and few steps."""
    block_size = 128
    while block_size > 8 and n_ids < 16 * block_size:
        block_size //= 2
    windows = max(1, n_ids // block_size)
    steps = min(MAX_STEPS, max(60, MAX_EPOCHS * windows // TRAIN["batch_size"]))
    budget = {"steps": steps, "seconds": seconds}
    return {"model": {**MODEL, "block_size": block_size}, "train": {**TRAIN, **budget}}


def training_seconds(budget: float, passed: float, scoring: float) -> float:
    """The part of `budget` that is left for training after `passed`; at least 1 second.

    `scoring`: how long the final score will take. All in seconds.
    """
    return max(1.0, budget * (1 - MARGIN) - passed - scoring - SHOWING_SECONDS)


def _rehearse(config: RunConfig, prepared: Prepared) -> float:
    """How many seconds the final score will take, extrapolated from a part of it.

    It also loads what is slow at its first use (torch's optimisers, matplotlib's fonts), so that
    this time has passed when the rest of the budget is divided.
    """
    load_drawing()
    device = choose_device(config.train.device)
    dtype, _ = choose_dtype(device, config.train.dtype)
    model = build_model(config.model).to(device)
    model.select_attention(dtype=dtype, data_features=config.attention_features)
    build_optimizers(model, config.train.optim)
    ids, stride = prepared.validation.joined(), _final_stride(config)
    part = ids[: REHEARSED_WINDOWS * stride]
    # The first evaluation starts threads and allocates memory: the second one is timed
    evaluate(model, part[: len(part) // 3 + 1], stride=stride, dtype=dtype)
    return evaluate(model, part, stride=stride, dtype=dtype).seconds * len(ids) / len(part)


def _final_stride(config: RunConfig) -> int:
    return max(1, config.model.block_size // 4)


def _show(
    trained: Trained, run_dir: Path, prepared: Prepared, reporter: Reporter, started: float
) -> Quickstart:
    """Add to a trained run the final score, a sample, plots and the summary."""
    result, planned = trained.result, trained.material.config.train.steps
    if result.stopped == "interrupted":
        return Quickstart(run_dir, {"step": result.step}, "", interrupted=True)
    if result.stopped == "done" and planned is not None and result.step < planned / 2:
        reporter.on_message(
            f"only {result.step:,} of {planned:,} steps fitted into the time: this model knows "
            "little yet; give more --seconds, or let other programs end first"
        )
    stride = _final_stride(trained.material.config)
    final = trained.evaluate(stride, tokens=EVERYTHING)
    assert final is not None
    row = {"step": result.model_step, **final.metrics()}
    reporter.on_eval(row)
    sample = _sample(trained)
    for write in (
        lambda: append_metrics(run_dir, "eval", row),
        lambda: _keep_sample(run_dir / "samples.txt", result.model_step, sample),
        lambda: _draw(trained, run_dir, prepared, reporter),
    ):
        survive_full_disk(write, reporter)
    train, validation = prepared.train, prepared.validation
    size, ids = train.bytes + validation.bytes, train.n_ids + validation.n_ids
    # A resume may have had nothing left to train: then the rate is that of all training
    rate = result.tokens_per_second or result.tokens / max(result.seconds, 1e-9)
    bits = final.bits_per_byte
    summary = {
        "bits_per_byte": None if bits is None else round(bits, 4),
        "perplexity": round(final.perplexity, 4),
        "val_loss": round(final.loss, 5),
        "val_tokens": final.tokens,
        "val_bytes": final.bytes,
        "context": final.context,
        "stride": final.stride,
        "n_params": trained.trainer.model.num_parameters(),
        "vocab_size": prepared.vocab_size,
        "bytes_per_token": round(size / ids, 4),
        "steps": result.step,
        "checkpoint": result.model_step,
        "tokens": result.tokens,
        "tokens_per_second": round(rate, 1),
        "train_seconds": round(result.seconds, 1),
        "seconds": round(time.perf_counter() - started, 1),
    }
    text = json.dumps(summary, indent=1) + "\n"
    survive_full_disk(lambda: atomic.write_text(run_dir / "summary.json", text), reporter)
    return Quickstart(run_dir, summary, sample)


def _sample(trained: Trained) -> str:
    model, tokenizer = trained.trainer.model, trained.material.tokenizer
    sampling = {"temperature": 0.8, "top_k": 50, "seed": trained.material.config.train.seed}
    text = ""
    for piece in stream_text(model, tokenizer, "\n", SAMPLE_CHARACTERS, **sampling):
        text += piece
        if len(text) >= SAMPLE_CHARACTERS:
            break
    return text[:SAMPLE_CHARACTERS]


def _keep_sample(path: Path, step: int, sample: str) -> None:
    """Behind those of the training, where `train.sample_every` asked for some."""
    if path.is_file():
        append_text(path, f"--- step {step}\n{sample}\n")
    else:
        atomic.write_text(path, sample + "\n")


def _draw(trained: Trained, run_dir: Path, prepared: Prepared, reporter: Reporter) -> None:
    """The plots. Without matplotlib the run is complete but for them, and a message says so."""
    rows = list(read_metrics(run_dir / "metrics.jsonl"))
    model, tokenizer = trained.trainer.model, trained.material.tokenizer
    ids = prepared.validation.joined()[: min(32, model.config.block_size)].tolist()
    try:
        plot_loss(rows, run_dir / "plots" / "loss.png", title="training")
        labels = [tokenizer.decode([i]) for i in ids]
        plot_attention(model, ids, labels, run_dir / "plots" / "attention.png")
    except ConfigError as error:
        reporter.on_message(str(error))
