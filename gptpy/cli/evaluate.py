"""`gptpy eval`: score a text, the run's own validation data, or lm-eval's tasks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptpy.cli.options import add_step, add_verb
from gptpy.cli.tasks import add_tasks, has_tasks, show_tasks
from gptpy.config.errors import ConfigError

if TYPE_CHECKING:
    from gptpy.devices.processes import World

EXAMPLE = """\
  gptpy eval runs/quickstart                    the run's own validation text
  gptpy eval runs/quickstart --data other.txt --stride 32
  gptpy eval runs/gpt2 --tasks hellaswag,lambada_openai --limit 200
  torchrun --nproc-per-node 8 -m gptpy eval runs/book      processes share the work

Training validates in windows side by side (train.eval_stride) on the first train.eval_tokens: with
--stride as long as the context, and the same --tokens, the figures are the same. Before each window
stand the ids that the tokenizer of an imported model gives every text."""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "eval", run, "score a text, every token of it", EXAMPLE)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory or a checkpoint folder")
    parser.add_argument(
        "--data", metavar="F", help="a UTF-8 text or a prepared folder (default: the run's own)"
    )
    parser.add_argument(
        "--context", type=int, metavar="N", help="length of a window (default: the model's)"
    )
    parser.add_argument(
        "--stride",
        type=int,
        metavar="N",
        help="tokens by which windows move; fewer give each token more context (default: a quarter "
        "of a window; training: a whole one)",
    )
    parser.add_argument(
        "--tokens", type=int, metavar="N", help="score only the first N tokens (default: all)"
    )
    add_tasks(parser)
    add_step(parser)
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and show; the processes of torchrun share the work, and the first one prints."""
    if arguments.tokens is not None and arguments.tokens < 1:
        raise ConfigError(f"--tokens: expected at least 1, got {arguments.tokens}")
    if has_tasks(arguments):
        return show_tasks(arguments)
    from gptpy.devices.processes import join_world, leave_world

    world = join_world(arguments.device)
    try:
        return _run(arguments, world)
    finally:
        leave_world()


def _run(arguments: argparse.Namespace, world: World) -> int:
    from gptpy.cli.show import table
    from gptpy.devices.selection import choose_device, choose_dtype
    from gptpy.evaluation.loss import evaluate
    from gptpy.runs.opening import load

    device = choose_device(arguments.device, world)
    loaded = load(arguments.run_dir, step=arguments.step, device=str(device))
    c = loaded.config
    dtype, _ = choose_dtype(device, c.train.dtype)  # as training scores
    rows = c.data.form != "stream" or c.model.architecture == "encoder"
    given = (arguments.data, arguments.context, arguments.stride)
    if rows and given != (None, None, None):
        raise ConfigError(
            "this run is scored on its own rows: leave out --data, --context and --stride"
        )
    if rows:
        result = _score_rows(loaded, arguments.tokens, dtype, world)
        name = "its validation rows"
    else:
        ids, n_bytes, name = _data(arguments.data, loaded, arguments.tokens)
        context = c.model.block_size if arguments.context is None else arguments.context
        stride = max(1, context // 4) if arguments.stride is None else arguments.stride
        result = evaluate(
            loaded.model,
            ids,
            n_bytes=n_bytes,
            context=context,
            stride=stride,
            end_of_text=loaded.end_of_text if c.data.document_mask else None,
            dtype=dtype,
            world=world,
            beginning=loaded.beginning,
        )
    if not world.is_main:
        return 0
    if arguments.json:
        print(json.dumps({"step": loaded.step, "chosen": loaded.reason, **result.metrics()}))
        return 0
    shown = [
        ("loss", f"{result.loss:.4f} nats per token"),
        ("perplexity", f"{result.perplexity:.3f} per token"),
    ]
    if result.bits_per_byte is not None:
        shown.append(("bits per byte", f"{result.bits_per_byte:.4f}"))
    for label, share in (("tokens right", result.accuracy), ("rows exactly right", result.exact)):
        if share is not None:
            shown.append((label, f"{share:.2%}"))
    size = "" if result.bytes is None else f", {result.bytes:,} bytes"
    shown.append(("scored", f"{result.tokens:,} tokens{size}, each once"))
    if not rows:
        shown.append(("context", f"{result.context} tokens, moved on by {result.stride}"))
    shown.append(("checkpoint", f"step {loaded.step}, {loaded.reason}"))
    table(f"{arguments.run_dir} on {name}", shown)
    return 0


def _score_rows(loaded: Any, tokens: int | None, dtype: Any, world: World) -> Any:
    """The score on the validation rows of the run's own sources."""
    from gptpy.data.material import open_material
    from gptpy.evaluation.scoring import score_of

    material = open_material(loaded.config, loaded.folder, fixed_vocabulary=True)
    score = score_of(material, tokens=tokens, world=world)
    if score is None:
        raise ConfigError(f"{loaded.folder}: there is nothing to validate on (data.validation)")
    return score(loaded.model, dtype)


def _data(given: str | None, loaded: Any, tokens: int | None) -> tuple[Any, int | None, str]:
    """Ids, size in bytes and a name, of a text, a prepared folder or the run's own data.

    At most the first `tokens`.

    The size is None where the tokenizer does not keep all bytes.
    """
    from gptpy.data.prepared import open_prepared, open_splits
    from gptpy.data.text import read_text
    from gptpy.evaluation.scoring import text_part
    from gptpy.tokenizer import encode_array, is_lossless

    lossless = is_lossless(loaded.tokenizer)
    if given is not None and not Path(given).is_dir():
        data = read_text(given)
        ids = encode_array(loaded.tokenizer, data.decode("utf-8"))
        if tokens is not None and tokens < len(ids):
            ids = ids[:tokens]
            data = loaded.tokenizer.decode_bytes(ids.tolist())
        return ids, len(data) if lossless else None, given
    if not (given or loaded.config.data.train or loaded.config.data.sources):
        raise ConfigError(f"{loaded.folder}: names no data of its own: give --data")
    prepared = open_prepared(given) if given else open_splits(loaded.config, loaded.folder)
    folder = prepared.folder
    if prepared.fingerprint != loaded.tokenizer.fingerprint:
        raise ConfigError(
            f"{folder} was written with tokenizer {prepared.fingerprint[:12]}, the run uses "
            f"{loaded.tokenizer.fingerprint[:12]}"
        )
    if prepared.validation.n_ids == 0:
        raise ConfigError(f"{folder}: holds no validation documents: give --data")
    ids, n_bytes = text_part(prepared.validation, loaded.tokenizer, tokens)
    return ids, n_bytes, f"{folder} (validation)"
