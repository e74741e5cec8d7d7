"""Everything on one text: tokenizer, data, model, training, evaluation, pictures, a sample."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.config.files import merged
from gptpy.config.run import RunConfig
from gptpy.data.ids import DataError, IdWriter, dtype_for
from gptpy.data.prepared import Prepared, Shard, open_prepared, write_manifest
from gptpy.data.splits import training_data
from gptpy.data.text import Text, split_text
from gptpy.devices.selection import choose_device, choose_dtype
from gptpy.evaluation.loss import Evaluation, evaluate
from gptpy.inference.text import stream_text
from gptpy.model import build_model
from gptpy.report.plots import load_drawing, plot_attention, plot_loss
from gptpy.runs import checkpoint
from gptpy.runs.metrics import append_metrics, read_metrics
from gptpy.storage import atomic
from gptpy.storage.lock import only_writer
from gptpy.tokenizer import (
    Tokenizer,
    encode_array,
    end_of_text,
    open_tokenizer,
    save_tokenizer,
    train_tokenizer,
)
from gptpy.train import Trainer, TrainResult
from gptpy.train.optimisers import build_optimizers
from gptpy.train.progress import Reporter

MIN_BYTES = 1000
SAMPLE_CHARACTERS = 400
# What of a time budget is kept free for the end, besides the final score, which is foreseen from a
# part of it: pictures and sample (2.3 s on two cores), and a margin for what others do meanwhile
SHOWING_SECONDS = 3.0
MARGIN = 0.03

# Found on two cores and Tiny Shakespeare: see DESIGN.md, "The quickstart"
MODEL: dict[str, Any] = {
    "preset": "modern-1m",
    "norm_affine": False,
    "init_embedding_std": 1.0,
}
TRAIN: dict[str, Any] = {
    "batch_size": 16,
    # Compiling costs 15 to 40 s of the 180 and buys a third more tokens, which this text does not
    # need: more than eight times over it the model learns it by heart
    "compile": "off",
    "log_every": 10,
    "optim": {
        "name": "muon",
        "muon_lr": 0.02,
        "muon_momentum_warmup": 200,
        "lr": 3e-3,
        "weight_decay": 0.0,
        "eps": 1e-10,
        "grad_clip": None,
    },
    "schedule": {"kind": "wsd", "warmup_steps": 20, "decay_fraction": 0.6, "floor": 0.0},
}
REHEARSED_WINDOWS = 192
MAX_STEPS = 1800
MAX_EPOCHS = 12


@dataclass(frozen=True)
class Quickstart:
    """What `quickstart` made. `interrupted`: Ctrl-C came, only a checkpoint was written."""

    run_dir: Path
    summary: dict[str, Any]
    sample: str
    interrupted: bool = False


def quickstart(
    text: Text,
    run_dir: Path,
    reporter: Reporter,
    *,
    seconds: float = 165.0,
    started: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Quickstart:
    """Run the whole path on `text` and fill `run_dir`, a new folder.

    `seconds` bounds all of it, counted from `started` (a `time.perf_counter()`); `overrides` are
    nested tables over the built-in configuration. Raises `DataError` before writing anything when
    the text is too short.
    """
    started = time.perf_counter() if started is None else started
    if len(text.data) < MIN_BYTES:
        raise DataError(
            f"{text.name}: {len(text.data)} bytes are too short to train on; at least "
            f"{MIN_BYTES} are needed, and a megabyte makes a better model"
        )
    if text.note:
        reporter.on_message(text.note)
    train_bytes, _ = split_text(text.data)
    wanted = min(512, 258 + len(train_bytes) // 2000)
    tokenizer = train_tokenizer(iter([train_bytes]), wanted)
    with only_writer(run_dir):
        save_tokenizer(tokenizer, run_dir)
        prepared = _write_data(text, tokenizer, run_dir / "data")
        reporter.on_message(
            f"{text.name}: {len(text.data):,} bytes, {tokenizer.n_vocab} tokens in the "
            f"vocabulary, {prepared.train.bytes / max(1, prepared.train.n_ids):.2f} bytes a token"
        )
        scoring = _rehearse(_configure(prepared, seconds, overrides or {}), prepared)
        left = training_seconds(seconds, time.perf_counter() - started, scoring)
        config = _configure(prepared, left, overrides or {})
        atomic.write_text(run_dir / "config.toml", config.to_toml())
        return _train_and_show(
            run_dir, config, prepared, tokenizer, reporter, started, resume=False
        )


def training_seconds(budget: float, passed: float, scoring: float) -> float:
    """What of `budget` is left for training when `passed` is gone; at least 1 second.

    `scoring`: how long the final score will take. All in seconds.
    """
    return max(1.0, budget * (1 - MARGIN) - passed - scoring - SHOWING_SECONDS)


def _rehearse(config: RunConfig, prepared: Prepared) -> float:
    """How many seconds the final score will take, from a part of it.

    Loads on the way what training and pictures load at their first use (the optimizers torch's
    compiler, matplotlib its fonts: seconds), so that this lies behind when the rest is shared out.
    """
    load_drawing()
    device = choose_device(config.train.device)
    dtype, _ = choose_dtype(device, config.train.dtype)
    model = build_model(config.model).to(device)
    model.select_attention(dtype=dtype)
    build_optimizers(model, config.train.optim)
    ids, stride = prepared.validation.joined(), _final_stride(config)
    part = ids[: REHEARSED_WINDOWS * stride]
    # The first one starts threads and takes its memory for the first time
    evaluate(model, part[: len(part) // 3 + 1], stride=stride, dtype=dtype)
    return evaluate(model, part, stride=stride, dtype=dtype).seconds * len(ids) / len(part)


def _final_stride(config: RunConfig) -> int:
    return max(1, config.model.block_size // 4)


def resume(run_dir: Path, reporter: Reporter, *, started: float | None = None) -> Quickstart:
    """Go on with an interrupted `quickstart` from its last checkpoint."""
    started = time.perf_counter() if started is None else started
    if not (run_dir / "config.toml").is_file():
        raise ConfigError(f"{run_dir}: there is no quickstart to resume (no config.toml)")
    if (run_dir / "summary.json").is_file():
        raise ConfigError(f"{run_dir}: this quickstart has come to its end: take another -o")
    with only_writer(run_dir):
        config = checkpoint.read_config(run_dir)
        prepared = open_prepared(run_dir / "data")
        tokenizer = open_tokenizer(run_dir)
        return _train_and_show(run_dir, config, prepared, tokenizer, reporter, started, resume=True)


def _write_data(text: Text, tokenizer: Tokenizer, folder: Path) -> Prepared:
    """Both parts of the text as id files, each tokenized by itself."""
    dtype = dtype_for(tokenizer.n_vocab)
    shards: dict[str, list[Shard]] = {}
    folder.mkdir(exist_ok=True)
    for name, part in zip(("train", "validation"), split_text(text.data), strict=True):
        ids = encode_array(tokenizer, part.decode("utf-8"))
        with IdWriter(folder / f"{name}.ids", dtype, tokenizer.fingerprint) as out:
            out.write(ids)
        shards[name] = [Shard(f"{name}.ids", len(ids), len(part), 1)]
    write_manifest(
        folder,
        shards,
        fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.n_vocab,
        end_of_text=end_of_text(tokenizer),
    )
    return open_prepared(folder)


def _configure(prepared: Prepared, seconds: float, overrides: Mapping[str, Any]) -> RunConfig:
    """The built-in configuration, cut down for texts that are small, under the user's overrides."""
    block = 128
    while block > 8 and prepared.train.n_ids < 16 * block:
        block //= 2
    windows = max(1, prepared.train.n_ids // block)
    steps = min(MAX_STEPS, max(60, MAX_EPOCHS * windows // TRAIN["batch_size"]))
    built_in = {
        "model": {**MODEL, "vocab_size": prepared.vocab_size, "block_size": block},
        "train": {**TRAIN, "steps": steps, "seconds": seconds, "eval_every": max(1, steps // 4)},
        "data": {"train": "data"},
    }
    return RunConfig.from_mapping(merged(built_in, overrides))


def _train_and_show(
    run_dir: Path,
    config: RunConfig,
    prepared: Prepared,
    tokenizer: Tokenizer,
    reporter: Reporter,
    started: float,
    *,
    resume: bool,
) -> Quickstart:
    device = choose_device(config.train.device)
    dtype, _ = choose_dtype(device, config.train.dtype)
    torch.manual_seed(config.train.seed)
    model = build_model(config.model).to(device)
    model.select_attention(dtype=dtype)
    validation = prepared.validation

    def score(model: Any, stride: int | None = None) -> Evaluation:
        ids = validation.joined()
        return evaluate(model, ids, n_bytes=validation.bytes, stride=stride, dtype=dtype)

    trainer = Trainer(
        model,
        training_data(prepared, config),
        config.train,
        run_dir=run_dir,
        evaluate=score,
        reporter=reporter,
        resume=resume,
    )
    result = trainer.fit()
    if result.stopped == "interrupted":
        return Quickstart(run_dir, {"step": result.step}, "", interrupted=True)
    planned = config.train.steps
    if result.stopped == "done" and planned is not None and result.step < planned / 2:
        reporter.on_message(
            f"only {result.step:,} of {planned:,} steps fitted into the time: this model knows "
            "little yet; give more --seconds, or let other programs end first"
        )
    final = score(model, _final_stride(config))
    row = {"step": result.step, **final.metrics()}
    reporter.on_eval(row)
    append_metrics(run_dir, "eval", row)
    sample = _sample(model, tokenizer, config.train.seed)
    atomic.write_text(run_dir / "samples.txt", sample + "\n")
    _draw(run_dir, model, tokenizer, prepared, reporter)
    summary = _summary(prepared, model, result, final, time.perf_counter() - started)
    atomic.write_text(run_dir / "summary.json", json.dumps(summary, indent=1) + "\n")
    return Quickstart(run_dir, summary, sample)


def _sample(model: Any, tokenizer: Tokenizer, seed: int) -> str:
    text = ""
    for piece in stream_text(
        model, tokenizer, "\n", SAMPLE_CHARACTERS, temperature=0.8, top_k=50, seed=seed
    ):
        text += piece
        if len(text) >= SAMPLE_CHARACTERS:
            break
    return text[:SAMPLE_CHARACTERS]


def _draw(
    run_dir: Path, model: Any, tokenizer: Tokenizer, prepared: Prepared, reporter: Reporter
) -> None:
    """The pictures; without matplotlib the run is still complete, and says what is missing."""
    rows = list(read_metrics(run_dir / "metrics.jsonl"))
    ids = [int(i) for i in prepared.validation.joined()[: min(32, model.config.block_size)]]
    labels = [tokenizer.decode([i]) for i in ids]
    try:
        plot_loss(rows, run_dir / "plots" / "loss.png", title="training")
        plot_attention(model, ids, labels, run_dir / "plots" / "attention.png")
    except ConfigError as error:
        reporter.on_message(str(error))


def _summary(
    prepared: Prepared, model: Any, result: TrainResult, final: Evaluation, seconds: float
) -> dict[str, Any]:
    ids = prepared.train.n_ids + prepared.validation.n_ids
    size = prepared.train.bytes + prepared.validation.bytes
    return {
        "bits_per_byte": round(final.bits_per_byte or 0.0, 4),
        "perplexity": round(final.perplexity, 4),
        "val_loss": round(final.loss, 5),
        "val_tokens": final.tokens,
        "val_bytes": final.bytes,
        "context": final.context,
        "stride": final.stride,
        "n_params": model.num_parameters(),
        "vocab_size": prepared.vocab_size,
        "bytes_per_token": round(size / ids, 4),
        "steps": result.step,
        "tokens": result.tokens,
        # A resume may have had nothing left to train: then over all of the training
        "tokens_per_second": round(
            result.tokens_per_second or result.tokens / max(result.seconds, 1e-9), 1
        ),
        "train_seconds": round(result.seconds, 1),
        "seconds": round(seconds, 1),
    }
