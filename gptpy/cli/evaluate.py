"""`gptpy eval`: score a text, the run's own validation data, or lm-eval's tasks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_step, add_verb
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy eval runs/quickstart                    the run's own validation text
  gptpy eval runs/quickstart --data other.txt --stride 32
  gptpy eval runs/gpt2 --tasks hellaswag,lambada_openai --limit 200"""


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
        "of a window)",
    )
    parser.add_argument(
        "--tokens", type=int, metavar="N", help="score only the first N tokens (default: all)"
    )
    group = parser.add_argument_group("tasks of lm-eval (extra: eval)")
    group.add_argument("--tasks", metavar="NAME,...", help="their names, instead of a text")
    group.add_argument("--task-folder", metavar="DIR", help="further tasks, as lm-eval's YAML")
    group.add_argument(
        "--fewshot", type=int, metavar="N", help="examples before each (default: the task's)"
    )
    group.add_argument(
        "--limit", type=int, metavar="N", help="only the first N of each task (default: all)"
    )
    add_step(parser)
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and show."""
    if arguments.tokens is not None and arguments.tokens < 1:
        raise ConfigError(f"--tokens: expected at least 1, got {arguments.tokens}")
    if arguments.tasks is not None:
        return _tasks(arguments)
    for name in ("task_folder", "fewshot", "limit"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} belongs to --tasks")
    from gptpy.cli.show import table
    from gptpy.evaluation.loss import evaluate
    from gptpy.runs.opening import load

    loaded = load(arguments.run_dir, step=arguments.step, device=arguments.device)
    c = loaded.config
    rows = c.data.form != "stream" or c.model.architecture == "encoder"
    given = (arguments.data, arguments.context, arguments.stride)
    if rows and given != (None, None, None):
        raise ConfigError(
            "this run is scored on its own rows: leave out --data, --context and --stride"
        )
    if rows:
        result, name = _score_rows(loaded, arguments.tokens), "its validation rows"
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
            dtype=loaded.dtype,
        )
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


def _tasks(arguments: argparse.Namespace) -> int:
    """Run lm-eval's tasks and show what they say."""
    for name in ("data", "tokens"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--tasks score their own texts: leave out --{name}")
    for name, least in (("fewshot", 0), ("limit", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ConfigError(f"--{name}: expected at least {least}, got {value}")
    names = [name.strip() for name in arguments.tasks.split(",") if name.strip()]
    if not names:
        raise ConfigError("--tasks: expected names as hellaswag,lambada_openai")
    from gptpy.cli.show import table
    from gptpy.inference.conversation import Prompts
    from gptpy.inference.engine import Engine
    from gptpy.inference.lm_harness import HarnessModel, run_tasks
    from gptpy.runs.opening import load

    loaded = load(arguments.run_dir, step=arguments.step, device=arguments.device)
    engine = Engine(loaded.model, loaded.tokenizer, exact=False)
    model = HarnessModel(
        Prompts(loaded), engine, max_length=arguments.context, stride=arguments.stride
    )
    results = run_tasks(
        model,
        names,
        folder=arguments.task_folder,
        fewshot=arguments.fewshot,
        limit=arguments.limit,
    )
    if arguments.json:
        print(json.dumps({"step": loaded.step, "chosen": loaded.reason, "tasks": results}))
        return 0
    for name, values in results.items():
        shown = []
        for key, value in values.items():
            metric, _, rest = key.partition(",")
            if not isinstance(value, (int, float)) or not rest or metric.endswith("_stderr"):
                continue
            error = values.get(f"{metric}_stderr,{rest}")
            plus = f" +- {error:.4f}" if isinstance(error, float) else ""
            shown.append((metric if rest == "none" else f"{metric} ({rest})", f"{value:.4f}{plus}"))
        table(name, shown)
    return 0


def _score_rows(loaded: Any, tokens: int | None) -> Any:
    """The score on the validation rows of the run's own sources."""
    from gptpy.data.material import open_material
    from gptpy.evaluation.scoring import score_of

    material = open_material(loaded.config, loaded.folder, fixed_vocabulary=True)
    score = score_of(material, tokens=tokens)
    if score is None:
        raise ConfigError(f"{loaded.folder}: there is nothing to validate on (data.validation)")
    return score(loaded.model, loaded.dtype)


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
