"""A run as a model of lm-eval (EleutherAI's evaluation harness): its tasks over our engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.inference.conversation import Prompts
from gptpy.inference.engine import Engine
from gptpy.inference.likelihood import score
from gptpy.inference.request import Request
from gptpy.inference.sampling import Sampling
from gptpy.tokenizer import published

try:
    from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]
except ImportError:
    raise ConfigError(
        "tasks are those of lm-eval, which is not installed: pip install 'gptpy-lm[eval]'"
    ) from None

MAX_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
BOOTSTRAPS = 1000
"""Draws for the standard errors that have no formula; lm-eval's 100,000 take minutes."""
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


class HarnessModel(TemplateLM):
    """`Engine` as lm-eval calls models. Special tokens in a task's texts are plain text.

    `max_length`: longest context, by default the model's. `stride`: tokens by which the windows of
    `loglikelihood_rolling` move; by default they lie side by side, as lm-eval has it. `seed`: of
    tasks that sample. Raises `ConfigError` for models and options that the tasks cannot use.
    """

    backend = "causal"

    def __init__(
        self,
        prompts: Prompts,
        engine: Engine,
        *,
        max_length: int | None = None,
        stride: int | None = None,
        max_tokens: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        c = engine.config
        if c.architecture == "encoder-decoder":
            raise ConfigError("tasks score one text: an encoder-decoder reads two")
        self.prompts, self.engine = prompts, engine
        self.max_length = c.block_size if max_length is None else max_length
        self.stride = self.max_length if stride is None else stride
        if not 1 <= self.stride <= self.max_length <= c.block_size:
            raise ConfigError(
                f"need 1 <= stride <= context <= block_size, got stride {self.stride}, context "
                f"{self.max_length}, block_size {c.block_size}"
            )
        self.max_gen_toks, self.seed = max_tokens, seed
        self._eot, self._prefix = _special_ids(prompts)

    @property
    def eot_token_id(self) -> int:
        """The id that ends texts."""
        return self._eot

    @property
    def prefix_token_id(self) -> int:
        """The id before a text that nothing else precedes."""
        return self._prefix

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """The ids of a text, after those that the published tokenizer begins texts with."""
        beginning = () if add_special_tokens is False else self.prompts.loaded.beginning
        return [*beginning, *self.prompts.tokenizer.encode_ordinary(string)]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **options: Any
    ) -> list[tuple[float, bool]]:
        texts = [
            ((context + continuation)[-(self.max_length + 1) :], len(continuation))
            for _, context, continuation in requests
        ]
        found = score(self.engine.runner, texts)
        results = [(sum(one.logprobs), one.greedy) for one in found]
        for (key, *_), result in zip(requests, results, strict=True):
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, result)
        return results

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of each whole text: every token is scored once."""
        windows: list[tuple[None, list[int], list[int]]] = []
        owners: list[int] = []
        for owner, request in enumerate(requests):
            for context, scored in self._windows(self.tok_encode(request.args[0])):
                windows.append((None, context, scored))
                owners.append(owner)
        totals = [0.0] * len(requests)
        scores = self._loglikelihood_tokens(windows)
        for owner, (logprob, _) in zip(owners, scores, strict=True):
            totals[owner] += logprob
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def _windows(self, ids: list[int]) -> list[tuple[list[int], list[int]]]:
        """Context and scored ids of each window; the first begins with `prefix_token_id`."""
        whole = [self.prefix_token_id, *ids]
        found, first = [], 1
        while first < len(whole):
            step = self.max_length if first == 1 else self.stride
            end = min(len(whole), first + step)
            start = max(0, end - self.max_length - 1)
            found.append((whole[start:first], whole[first:end]))
            first = end
        return found

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """The continuation of each context, up to the first of its stop strings."""
        made = [self._request(*request.args) for request in requests]
        handles = self.engine.generate(made)
        texts = []
        for request, handle in zip(requests, handles, strict=True):
            output = handle.outputs[0]
            if output.error is not None:
                raise ConfigError(output.error)
            texts.append(output.text)
            self.cache_hook.add_partial("generate_until", request.args, output.text)
        return texts

    def _request(self, context: str, options: dict[str, Any]) -> Request:
        options = dict(options)
        until = options.pop("until", None) or []
        stop = [until] if isinstance(until, str) else list(until)
        given = [value for name in MAX_TOKENS if (value := options.pop(name, None)) is not None]
        most = int(given[0]) if given else min(self.max_gen_toks, self.max_length // 2)
        if not 1 <= most < self.max_length:
            raise ConfigError(
                f"a task wants {most} new tokens: expected less than the context of "
                f"{self.max_length}"
            )
        settings = {name: options.pop(name) for name in SAMPLING if options.get(name) is not None}
        if not options.pop("do_sample", settings.get("temperature", 0) > 0):
            settings["temperature"] = 0.0
        if options:
            raise ConfigError(
                f"a task sets {', '.join(map(str, options))} for its texts, which is not supported"
            )
        ids = self.tok_encode(context)[-(self.max_length - most) :] or [self.prefix_token_id]
        return Request(
            ids,
            most,
            sampling=Sampling(**settings),
            seed=self.seed,
            stop=[text for text in stop if text],
            end_ids=self.prompts.end_ids | {self.eot_token_id},
        )


def _special_ids(prompts: Prompts) -> tuple[int, int]:
    """The ids that end a text and that come before one, as lm-eval takes them from a tokenizer."""
    loaded, tokenizer = prompts.loaded, prompts.tokenizer
    texts = published.special_texts(loaded.folder / published.FOLDER)
    known = {
        name: tokenizer.encode_single_token(text)
        for name, text in texts.items()
        if text in tokenizer.special_tokens_set
    }
    end = known.get("eos_token", loaded.ends[0] if loaded.ends else None)
    begin = known.get("bos_token", loaded.beginning[0] if loaded.beginning else end)
    if end is None or begin is None:
        raise ConfigError(
            "tasks need an end-of-text token, which this run's tokenizer lacks: train it with one"
        )
    return end, begin


def run_tasks(
    model: HarnessModel,
    tasks: Sequence[str],
    *,
    folder: str | Path | None = None,
    fewshot: int | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """The results of lm-eval's `tasks`, by task. `folder`: further tasks (YAML).

    `limit`: so many examples of each. Raises `ConfigError` for names that no task has.
    """
    from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    if folder is not None and not Path(folder).is_dir():
        raise ConfigError(f"{folder}: no such folder")
    manager = TaskManager(include_path=None if folder is None else str(folder))
    unknown = [name for name in tasks if name not in manager.all_tasks]
    if unknown:
        where = "lm-eval" if folder is None else f"lm-eval or {folder}"
        raise ConfigError(f"{', '.join(unknown)}: no such task in {where}")
    found = simple_evaluate(
        model=model,
        tasks=list(tasks),
        num_fewshot=fewshot,
        limit=limit,
        task_manager=manager,
        bootstrap_iters=BOOTSTRAPS,
        log_samples=False,
    )
    assert found is not None
    return {name: dict(values) for name, values in found["results"].items()}
