"""A training run from its configuration: what `gptpy train` does between parsing and showing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig
from gptpy.data.material import gather, open_material
from gptpy.devices.processes import World, join_world, leave_world
from gptpy.devices.selection import choose_device, choose_dtype
from gptpy.evaluation.loss import Evaluation
from gptpy.evaluation.scoring import score_of
from gptpy.inference.text import prepare_prompt, shown_prompt, stream_text
from gptpy.model import build_model
from gptpy.model.fast.fused import applicable
from gptpy.model.lora import add_adapters
from gptpy.runs.metrics import check_trackers
from gptpy.runs.opening import load
from gptpy.storage import atomic
from gptpy.storage.lock import only_writer
from gptpy.tokenizer import Tokenizer, save_tokenizer
from gptpy.train import Trainer, TrainResult
from gptpy.train.embeddings import load_embeddings
from gptpy.train.progress import Reporter
from gptpy.train.trainer import make_deterministic


def run_training(
    mapping: Mapping[str, Any], run_dir: Path, reporter: Reporter, *, resume: bool = False
) -> tuple[TrainResult | None, Evaluation | None]:
    """Train as `mapping` (nested tables) says, into `run_dir`.

    Returns the result and the last evaluation; (None, None) on all but the main process of several.
    """
    config, fixed_vocabulary = _configure(mapping)
    world = join_world(config.train.device)
    try:
        with only_writer(run_dir) if world.is_main else nullcontext():
            return _run(config, fixed_vocabulary, run_dir, reporter, world, resume=resume)
    finally:
        leave_world()


def _run(
    config: RunConfig,
    fixed_vocabulary: bool,
    run_dir: Path,
    reporter: Reporter,
    world: World,
    *,
    resume: bool,
) -> tuple[TrainResult | None, Evaluation | None]:
    if world.is_main:
        gather(config, run_dir, reporter.on_message, resume=resume)
    world.barrier()
    material = open_material(
        config,
        run_dir,
        fixed_vocabulary=fixed_vocabulary,
        say=reporter.on_message if world.is_main else lambda text: None,
    )
    config, tokenizer, score = material.config, material.tokenizer, score_of(material)
    device = choose_device(config.train.device)
    if device.type == "cuda" and world.size > 1:
        device = torch.device("cuda", world.local_rank)
    dtype, _ = choose_dtype(device, config.train.dtype)
    if config.train.deterministic:
        make_deterministic()
    torch.manual_seed(config.train.seed)
    model = build_model(config.model)
    if config.train.init and not resume:
        begin_with(model, config.train.init)
    if config.train.embeddings and not resume:
        found = load_embeddings(model, tokenizer, config.train.embeddings)
        if world.is_main:
            reporter.on_message(f"embeddings of {found:,} of {tokenizer.n_vocab:,} tokens")
    if config.train.freeze_embeddings:
        model.get_parameter("token_embedding.weight").requires_grad_(False)
    if config.lora is not None:
        names = add_adapters(model, config.lora)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        if world.is_main:
            reporter.on_message(f"adapters on {len(names)} layers: {trained:,} parameters")
    model.to(device)
    name, reason = model.select_attention(dtype=dtype)
    fused = applicable(config.model) if config.train.fused_kernels == "on" else None
    fusions, why = model.select_fusions(fused, dtype=dtype)
    if world.is_main:
        reporter.on_message(f"attention {name}: {reason}")
        if fusions:
            reporter.on_message(f"fused kernels {', '.join(sorted(fusions))}: {why}")
        run_dir.mkdir(parents=True, exist_ok=True)

    trainer = Trainer(
        model,
        material.dataset,
        config.train,
        run_dir=run_dir,
        evaluate=None if score is None else lambda model: score(model, dtype),
        sample=_sampler(tokenizer, config, material.end),
        reporter=reporter,
        world=world,
        resume=resume,
    )
    if world.is_main:  # not earlier: a resume that is refused leaves the run as it was
        atomic.write_text(run_dir / "config.toml", config.to_toml())
        save_tokenizer(tokenizer, run_dir)
    result = trainer.fit()
    evaluation = trainer.final_evaluation() if result.stopped != "interrupted" else None
    if not world.is_main:
        return None, None
    # A resume that finds nothing left to do has nothing to tell, unless the run was ended between
    # its last step and its summary
    before = _last_summary(run_dir)
    whole = before.get("steps") == result.step and before.get("stopped") != "interrupted"
    if result.tokens_per_second or not whole:
        _summarise(run_dir, model, result, evaluation, before)
    return result, evaluation


@torch.no_grad()
def begin_with(model: Any, run: str | Path) -> None:
    """Copy the weights of a run into `model`, in place.

    A vocabulary may have grown: new rows of embedding and head begin as the mean of the others.
    Raises `ConfigError` where anything else differs.
    """
    base = load(run, device="cpu", dtype="float32").model.state_dict()
    own = model.state_dict()
    if base.keys() != own.keys():
        differ = sorted(base.keys() ^ own.keys())[:3]
        raise ConfigError(f"{run}: is another kind of model: only one of the two has {differ}")
    for name, tensor in own.items():
        weight = base[name]
        rows = len(tensor) - len(weight) if tensor.ndim == 2 else 0
        if rows > 0 and name in ("token_embedding.weight", "head.weight"):
            weight = torch.cat((weight, weight.mean(0, keepdim=True).expand(rows, -1)))
        if weight.shape != tensor.shape:
            raise ConfigError(
                f"{run}: {name} has shape {tuple(weight.shape)}, this configuration wants "
                f"{tuple(tensor.shape)}: take the run's [model]"
            )
        tensor.copy_(weight)


def _configure(mapping: Mapping[str, Any]) -> tuple[RunConfig, bool]:
    """The configuration, and whether it fixes the vocabulary that else follows the data."""
    config = RunConfig.from_mapping(mapping)
    if not config.train.has_end:
        raise ConfigError("nothing ends this run: give --train.steps N, or tokens, epochs, seconds")
    if config.train.sample_every and config.model.architecture == "encoder":
        raise ConfigError("train.sample_every: an encoder does not generate, leave it out")
    if os.environ.get("RANK", "0") == "0":  # who writes; before a folder is begun
        check_trackers(config.train.tensorboard, config.train.wandb)
    padded = config.data.form != "stream" or config.data.min_length is not None
    if padded and config.train.tokens is not None:
        raise ConfigError(
            "train.tokens counts windows of block_size tokens, but with data.form = "
            f"{config.data.form!r} and data.min_length = {config.data.min_length} batches are of "
            "many lengths: give train.steps, epochs or seconds"
        )
    model = mapping.get("model", {})
    return config, isinstance(model, Mapping) and "vocab_size" in model


def _sampler(tokenizer: Tokenizer, config: RunConfig, end: int | None) -> Any:
    train = config.train
    # Told now, not after `sample_every` steps
    if train.sample_every and not tokenizer.encode_ordinary(train.sample_prompt) and end is None:
        raise ConfigError(
            f"train.sample_prompt {train.sample_prompt!r} has no token to begin with, and this "
            "tokenizer no end-of-text: give train.sample_prompt"
        )

    def sample(model: Any) -> str:
        ids, inputs = prepare_prompt(model, tokenizer, train.sample_prompt, config.data, end)
        pieces = stream_text(
            model,
            tokenizer,
            ids,
            train.sample_tokens,
            temperature=train.sample_temperature,
            top_k=train.sample_top_k,
            seed=train.seed,
            eos_id=end,
            inputs=inputs,
        )
        start = shown_prompt(tokenizer, train.sample_prompt, config.data)
        return (start or f"{train.sample_prompt} -> ") + "".join(pieces)

    return sample


def _last_summary(run_dir: Path) -> dict[str, Any]:
    """What an earlier part of the run has written, empty if it wrote nothing or was damaged."""
    try:
        found = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _summarise(
    run_dir: Path,
    model: Any,
    result: TrainResult,
    evaluation: Evaluation | None,
    before: Mapping[str, Any],
) -> None:
    # Where this process trained nothing, the speed is that of the one that did
    rate = result.tokens_per_second or before.get("tokens_per_second", 0.0)
    summary: dict[str, Any] = {
        "n_params": model.num_parameters(),
        "vocab_size": model.config.vocab_size,
        "steps": result.step,
        "tokens": result.tokens,
        "tokens_per_second": round(rate, 1),
        "seconds": round(result.seconds, 1),
        "stopped": result.stopped,
    }
    if evaluation is not None:
        scored = evaluation.metrics()
        summary["val_tokens"] = scored.pop("tokens")
        summary.update({**scored, "seconds": round(result.seconds, 1)})
    atomic.write_text(run_dir / "summary.json", json.dumps(summary, indent=1) + "\n")
