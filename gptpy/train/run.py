"""A training run from its configuration: what `gptpy train` does between parsing and showing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gptpy import atomic
from gptpy.config.errors import ConfigError
from gptpy.config.files import merged
from gptpy.config.run import RunConfig
from gptpy.data.ids import DataError
from gptpy.data.prepared import Prepared, open_prepared
from gptpy.distributed import join_world, leave_world
from gptpy.evaluate import Evaluation, evaluate
from gptpy.generation import stream_text
from gptpy.loading import training_data
from gptpy.model import build_model
from gptpy.model.fused import applicable
from gptpy.precision import choose_device, choose_dtype
from gptpy.progress import Reporter
from gptpy.tokenizer import Tokenizer, end_of_text, open_tokenizer, save_tokenizer
from gptpy.train import Trainer, TrainResult
from gptpy.train.trainer import make_deterministic


def run_training(
    mapping: Mapping[str, Any], run_dir: Path, reporter: Reporter, *, resume: bool = False
) -> tuple[TrainResult | None, Evaluation | None]:
    """Train as `mapping` (nested tables) says, into `run_dir`.

    Returns the result and the last evaluation; (None, None) on all but the main process of several.
    """
    prepared = open_prepared(_data_folder(mapping, run_dir))
    config = _configure(mapping, prepared)
    tokenizer = open_tokenizer(prepared.folder)
    if tokenizer.fingerprint != prepared.fingerprint:
        raise DataError(
            f"{prepared.folder}: its shards were written with tokenizer "
            f"{prepared.fingerprint[:12]}, the tokenizer.json beside them is "
            f"{tokenizer.fingerprint[:12]}: prepare the data again"
        )
    world = join_world(config.train.device)
    try:
        device = choose_device(config.train.device)
        if device.type == "cuda" and world.size > 1:
            device = torch.device("cuda", world.local_rank)
        dtype, _ = choose_dtype(device, config.train.dtype)
        if config.train.deterministic:
            make_deterministic()
        torch.manual_seed(config.train.seed)
        model = build_model(config.model).to(device)
        name, reason = model.select_attention(dtype=dtype)
        fused = applicable(config.model) if config.train.fused_kernels == "on" else None
        fusions, why = model.select_fusions(fused, dtype=dtype)
        if world.is_main:
            reporter.on_message(f"attention {name}: {reason}")
            if fusions:
                reporter.on_message(f"fused kernels {', '.join(sorted(fusions))}: {why}")
            run_dir.mkdir(parents=True, exist_ok=True)
            atomic.write_text(run_dir / "config.toml", config.to_toml())
            save_tokenizer(tokenizer, run_dir)

        def score(model: Any) -> Evaluation:
            split = prepared.validation
            stride = config.train.eval_stride
            return evaluate(model, split.joined(), n_bytes=split.bytes, stride=stride, dtype=dtype)

        trainer = Trainer(
            model,
            training_data(prepared, config),
            config.train,
            run_dir=run_dir,
            evaluate=score if prepared.validation.n_ids else None,
            sample=_sampler(tokenizer, config),
            reporter=reporter,
            world=world,
            resume=resume,
        )
        result = trainer.fit()
        evaluation = trainer.final_evaluation() if result.stopped != "interrupted" else None
        if not world.is_main:
            return None, None
        _summarise(run_dir, model, result, evaluation)
        return result, evaluation
    finally:
        leave_world()


def _data_folder(mapping: Mapping[str, Any], run_dir: Path) -> Path:
    """`data.train`, which may be relative to the run directory (a quickstart's own data)."""
    data = mapping.get("data")
    given = data.get("train") if isinstance(data, Mapping) else None
    if not isinstance(given, str) or not given:
        raise ConfigError("data.train must name a folder that `gptpy prepare` wrote")
    inside = run_dir / given
    return inside if (inside / "manifest.json").is_file() else Path(given)


def _configure(mapping: Mapping[str, Any], prepared: Prepared) -> RunConfig:
    """The vocabulary follows the data, unless the configuration says otherwise."""
    model = mapping.get("model", {})
    if isinstance(model, Mapping) and "vocab_size" not in model:
        mapping = merged(mapping, {"model": {"vocab_size": prepared.vocab_size}})
    config = RunConfig.from_mapping(mapping)
    if not config.train.has_end:
        raise ConfigError("nothing ends this run: give --train.steps N, or tokens, epochs, seconds")
    return config


def _sampler(tokenizer: Tokenizer, config: RunConfig) -> Any:
    train = config.train

    def sample(model: Any) -> str:
        pieces = stream_text(
            model,
            tokenizer,
            train.sample_prompt,
            train.sample_tokens,
            temperature=0.8,
            top_k=50,
            seed=train.seed,
            eos_id=end_of_text(tokenizer),
        )
        return train.sample_prompt + "".join(pieces)

    return sample


def _summarise(
    run_dir: Path, model: Any, result: TrainResult, evaluation: Evaluation | None
) -> None:
    summary: dict[str, Any] = {
        "n_params": model.num_parameters(),
        "vocab_size": model.config.vocab_size,
        "steps": result.step,
        "tokens": result.tokens,
        "tokens_per_second": round(result.tokens_per_second, 1),
        "seconds": round(result.seconds, 1),
        "stopped": result.stopped,
    }
    if evaluation is not None:
        summary.update(evaluation.metrics())
        summary["seconds"] = round(result.seconds, 1)
    atomic.write_text(run_dir / "summary.json", json.dumps(summary, indent=1) + "\n")
