"""A training run from its configuration: what `gptpy train`, `finetune` and `quickstart` do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.config.run import RunConfig, check_resume
from gptpy.data.material import Material, gather, open_material
from gptpy.devices.processes import World, join_world, leave_world, shard_from_main
from gptpy.devices.selection import choose_device, choose_dtype
from gptpy.evaluation.loss import Evaluation
from gptpy.evaluation.scoring import score_of
from gptpy.inference.text import prepare_prompt, shown_prompt, stream_text
from gptpy.model import build_model
from gptpy.model.fast.fused import applicable
from gptpy.model.lora import add_adapters
from gptpy.model.size import WEIGHT_BYTES, check_size
from gptpy.runs import checkpoint
from gptpy.runs.progress import Reporter, Silent, counted, survive_full_disk
from gptpy.runs.trackers import check_trackers
from gptpy.storage import atomic
from gptpy.storage.lock import only_writer
from gptpy.tokenizer import FILE_NAME, save_tokenizer
from gptpy.train import Trainer, TrainResult
from gptpy.train.initial import load_embeddings, load_weights
from gptpy.train.interrupt import Interrupt


@dataclass(frozen=True)
class Trained:
    """A run after its training: the trainer with the model, and what it was trained on."""

    trainer: Trainer
    material: Material
    dtype: torch.dtype
    result: TrainResult

    def evaluate(self, stride: int | None = None) -> Evaluation | None:
        """The validation score of the final weights, those that `gptpy.load` takes.

        `stride`: as for `score_of`. None where nothing is held out.
        """
        score = score_of(self.material, stride, world=self.trainer.world)
        return None if score is None else score(self.trainer.model, self.dtype)


def run_training(
    mapping: Mapping[str, Any], run_dir: Path, reporter: Reporter, *, resume: bool = False
) -> tuple[TrainResult | None, Evaluation | None]:
    """Train as `mapping` (nested tables) says, into `run_dir`.

    Returns the result and the last evaluation; (None, None) on all but the main process of several.
    A resume takes the settings that may change from `mapping`; `ConfigError` naming the others.
    """
    config, fixed_vocabulary = checked_config(mapping)
    if resume:
        _check_resume(config, run_dir, fixed_vocabulary=fixed_vocabulary)
    world = join_world(config.train.device)
    if not world.is_main:
        reporter = Silent()
    try:
        with only_writer(run_dir) if world.is_main else nullcontext():
            if world.is_main:
                gather(config, run_dir, reporter, resume=resume)
            world.wait_for_main()
            material = open_material(
                config, run_dir, fixed_vocabulary=fixed_vocabulary, reporter=reporter
            )
            if not resume:
                _check_validation(mapping, material)
            trained = train_on(material, run_dir, reporter, world=world, resume=resume)
            interrupted = trained.result.stopped == "interrupted"
            evaluation = None if interrupted else trained.evaluate()
            if not world.is_main:
                return None, None
            survive_full_disk(lambda: _write_summary(run_dir, trained, evaluation), reporter)
            return trained.result, evaluation
    finally:
        leave_world()


def checked_config(mapping: Mapping[str, Any]) -> tuple[RunConfig, bool]:
    """The configuration, and whether it sets the vocabulary size, which else follows the data.

    Raises `ConfigError` for settings that do not fit together, before anything is written.
    """
    config = RunConfig.from_mapping(mapping)
    if not config.train.has_end:
        raise ConfigError("nothing ends this run: give --train.steps N, or tokens, epochs, seconds")
    if config.train.sample_every and config.model.architecture == "encoder":
        raise ConfigError("train.sample_every: an encoder does not generate, leave it out")
    if os.environ.get("RANK", "0") == "0":  # the process that writes
        check_trackers(config.train.tensorboard, config.train.wandb)
    stride, block_size = config.train.eval_stride, config.model.block_size
    if stride is not None and stride > block_size:
        raise ConfigError(
            f"train.eval_stride {stride}: windows of model.block_size = {block_size} tokens would "
            f"leave tokens out: take at most {block_size}"
        )
    padded = config.data.form != "stream" or config.data.min_length is not None
    if padded and config.train.tokens is not None:
        raise ConfigError(
            "train.tokens counts windows of block_size tokens, but with data.form = "
            f"{config.data.form!r} and data.min_length = {config.data.min_length} batches are of "
            "many lengths: give train.steps, epochs or seconds"
        )
    model = mapping.get("model", {})
    fixed_vocabulary = isinstance(model, Mapping) and "vocab_size" in model
    # Before the data are read: what is too large whatever vocabulary they need
    known = config.model if fixed_vocabulary else config.model.replace(vocab_size=1)
    check_size(known, torch.device("cpu"))
    return config, fixed_vocabulary


def _check_resume(config: RunConfig, run_dir: Path, *, fixed_vocabulary: bool) -> None:
    """`ConfigError` where `config` changes what a resume cannot."""
    if not (run_dir / "config.toml").is_file():
        return  # the checkpoint will say what does not fit
    run = checkpoint.read_config(run_dir)
    if not fixed_vocabulary:
        config = replace(config, model=config.model.replace(vocab_size=run.model.vocab_size))
    check_resume(run, config)


def _check_validation(mapping: Mapping[str, Any], material: Material) -> None:
    """`ConfigError` where settings ask for evaluations and nothing is held out."""
    if material.held_out is not None:
        return
    names = ("eval_every", "eval_epochs", "patience", "keep_best")
    asked = [f"train.{name}" for name in names if mapping.get("train", {}).get(name)]
    if asked:
        raise ConfigError(
            f"{', '.join(asked)}: this run has nothing to validate on (data.validation, "
            "data.validation_sources, gptpy prepare --validation): hold some of the data back, or "
            "leave the setting out"
        )


def train_on(
    material: Material,
    run_dir: Path,
    reporter: Reporter,
    *,
    world: World | None = None,
    resume: bool = False,
) -> Trained:
    """Train the model that the material's configuration describes, into `run_dir`.

    `run_dir` is the caller's to lock (`only_writer`). All processes of `world` call it.
    """
    config, world = material.config, world or World()
    device = choose_device(config.train.device, world)
    dtype, _ = choose_dtype(device, config.train.dtype)
    sharded = world.size > 1 and config.train.parallel == "fsdp"
    _check_memory(config, device, world.size if sharded else 1)
    if config.train.deterministic:
        # The same bits from the same input on a GPU too; some operations get slower
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(config.train.seed)
    whole = None
    if sharded:
        if world.is_main and not resume:
            whole = _build(material, reporter, resume=False)
        with torch.device("meta"):
            model = _build(material, Silent(), resume=True)
    else:
        model = _build(material, reporter, resume=resume).to(device)
    # Before sharding, which changes the classes of layers
    asked = config.train.attention
    name, reason = model.select_attention(
        None if asked == "auto" else asked,
        dtype=dtype,
        data_features=config.attention_features,
        training=True,
        device=device,
    )
    reporter.on_message(f"attention {name}: {reason}")
    wanted = applicable(config.model) if config.train.fused_kernels == "on" else None
    fused, reason = model.select_fusions(wanted, dtype=dtype, device=device)
    if fused:
        reporter.on_message(f"fused kernels {', '.join(sorted(fused))}: {reason}")
    if sharded:
        shard_from_main(model, whole, world, device)
        del whole
    interrupt = Interrupt()
    score = score_of(material, world=world, stop=lambda: interrupt.requested)
    trainer = Trainer(
        model,
        material.dataset,
        config.train,
        run_dir=run_dir,
        evaluate=None if score is None else lambda model: score(model, dtype),
        sample=_sampler(material),
        reporter=reporter,
        world=world,
        resume=resume,
        interrupt=interrupt,
    )
    if world.is_main:  # not earlier: a resume that is refused leaves the run as it was
        run_dir.mkdir(parents=True, exist_ok=True)
        atomic.write_text(run_dir / "config.toml", config.to_toml())
        if not (resume and (run_dir / FILE_NAME).is_file()):
            save_tokenizer(material.tokenizer, run_dir)
    return Trained(trainer, material, dtype, trainer.fit())


def _check_memory(config: RunConfig, device: torch.device, parts: int) -> None:
    """`ConfigError` for a model that the memory of `device` cannot hold while it is trained.

    With fp32 weights come gradients and AdamW's two averages, or Muon's one; with adapters the
    weights are frozen.
    """
    trained = {"adamw": 4, "muon": 3}[config.train.optim.name]
    numbers = 1 if config.lora is not None else trained
    check_size(config.model, device, bytes_per_parameter=numbers * WEIGHT_BYTES, parts=parts)


def _build(material: Material, reporter: Reporter, *, resume: bool) -> Any:
    """The model with the weights that it begins with, and the adapters if only they are trained."""
    config, train = material.config, material.config.train
    model = build_model(config.model)
    if train.init and not resume:
        reporter.on_message(
            load_weights(
                model,
                material.tokenizer,
                train.init,
                changes=train.init_changes,
                remap=train.remap_embeddings,
            )
        )
    if train.embeddings and not resume:
        found = load_embeddings(model, material.tokenizer, train.embeddings)
        reporter.on_message(f"embeddings of {found:,} of {material.tokenizer.n_vocab:,} tokens")
    if train.freeze_embeddings:
        model.get_parameter("token_embedding.weight").requires_grad_(False)
    if config.lora is not None:
        names = add_adapters(model, config.lora)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        reporter.on_message(
            f"adapters on {counted(len(names), 'layer')}: {counted(trained, 'parameter')}"
        )
    return model


def _sampler(material: Material) -> Callable[[Any], str]:
    """A function of the model that samples a text; `ConfigError` where that would fail later."""
    train, data = material.config.train, material.config.data
    tokenizer, end = material.tokenizer, material.end
    if train.sample_every and not tokenizer.encode_ordinary(train.sample_prompt) and end is None:
        raise ConfigError(
            f"train.sample_prompt {train.sample_prompt!r} has no token to begin with, and this "
            "tokenizer no end-of-text: give train.sample_prompt"
        )

    def sample(model: Any) -> str:
        ids, inputs = prepare_prompt(model, tokenizer, train.sample_prompt, data, end)
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
        start = shown_prompt(tokenizer, train.sample_prompt, data)
        return (start or f"{train.sample_prompt} -> ") + "".join(pieces)

    return sample


def _write_summary(run_dir: Path, trained: Trained, evaluation: Evaluation | None) -> None:
    """Write `summary.json`; a resume that found nothing left to train keeps a complete one."""
    result, before = trained.result, _last_summary(run_dir)
    complete = before.get("steps") == result.step and before.get("stopped") != "interrupted"
    if complete and not result.tokens_per_second:
        return
    # Without a step in this process, the speed is that of the process before
    rate = result.tokens_per_second or before.get("tokens_per_second", 0.0)
    model = trained.trainer.model
    summary: dict[str, Any] = {
        "n_params": model.num_parameters(),
        "vocab_size": model.config.vocab_size,
        "steps": result.step,
        "tokens": result.tokens,
        "tokens_per_second": round(rate, 1),
        "seconds": round(result.seconds, 1),
        "stopped": result.stopped,
        "checkpoint": result.model_step,
    }
    if result.best_loss is not None:
        summary |= {"best_step": result.best_step, "best_val_loss": round(result.best_loss, 6)}
    if trained.trainer.state.unscored:
        summary["unscored_steps"] = trained.trainer.state.unscored
    if evaluation is not None:
        scored = evaluation.metrics()
        summary["val_tokens"] = scored.pop("tokens")
        summary.update({**scored, "seconds": round(result.seconds, 1)})
    atomic.write_text(run_dir / "summary.json", json.dumps(summary, indent=1) + "\n")


def _last_summary(run_dir: Path) -> dict[str, Any]:
    """The summary of an earlier part of the run; empty if there is none or it is damaged."""
    try:
        found = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
