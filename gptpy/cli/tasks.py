"""`gptpy eval --tasks`: the tasks of lm-eval."""

from __future__ import annotations

import argparse
import json

from gptpy.config.errors import ConfigError

OPTIONS = ("task_folder", "fewshot", "limit")


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("tasks of lm-eval (extra: eval)")
    group.add_argument("--tasks", metavar="NAME,...", help="their names, instead of a text")
    group.add_argument("--task-folder", metavar="DIR", help="further tasks, as lm-eval's YAML")
    group.add_argument(
        "--fewshot", type=int, metavar="N", help="examples before each (default: the task's)"
    )
    group.add_argument(
        "--limit", type=int, metavar="N", help="only the first N of each task (default: all)"
    )


def has_tasks(arguments: argparse.Namespace) -> bool:
    """Whether tasks are asked for; `ConfigError` for their options without them."""
    for name in OPTIONS if arguments.tasks is None else ():
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} belongs to --tasks")
    return arguments.tasks is not None


def show_tasks(arguments: argparse.Namespace) -> int:
    """Run the tasks and show what they say."""
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
