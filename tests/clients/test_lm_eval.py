"""lm-eval on a run and on its export: the same numbers from our engine and from `transformers`."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import gptpy
from gptpy.cli import main
from gptpy.config import ConfigError, GPTConfig
from gptpy.config.run import RunConfig
from gptpy.inference.conversation import Prompts
from gptpy.inference.engine import Engine
from gptpy.model import build_model
from gptpy.runs import checkpoint
from gptpy.tokenizer import save_tokenizer

TEXT = "In the beginning was the word, and the words were counted: 1, 2, 3; it's all that we know. "
CHOICE = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
"""
MULTIPLE = """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
num_fewshot: 2
fewshot_split: test
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
ROLLING = """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
"""
GENERATE = """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{reply}}"
generation_kwargs: {until: ["w"], max_gen_toks: 12}
metric_list: [{metric: exact_match}]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    import bpe_rs

    folder = tmp_path_factory.mktemp("lm_eval") / "run"
    tokenizer: Any = bpe_rs.train([TEXT * 20], vocab_size=300, special_tokens=["<|endoftext|>"])
    torch.manual_seed(0)
    config = GPTConfig(vocab_size=tokenizer.n_vocab, block_size=48, n_layer=2, n_head=2, n_embd=32)
    model = build_model(config)
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    folder.mkdir()
    save_tokenizer(tokenizer, folder)
    checkpoint.save(folder, 0, tensors={"model": model.state_dict()}, state={})
    (folder / "config.toml").write_text(RunConfig(model=config).to_toml())
    assert main(["export", str(folder), "-o", str(folder.parent / "hf")]) == 0
    return folder


def models(run: Path) -> tuple[Any, Any]:
    from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]

    from gptpy.inference.lm_harness import HarnessModel

    loaded = gptpy.load(run, device="cpu", dtype="float32")
    engine = Engine(loaded.model, loaded.tokenizer, cache_tokens=48 * 6)
    theirs = HFLM(pretrained=str(run.parent / "hf"), device="cpu", batch_size=3, dtype="float32")
    return HarnessModel(Prompts(loaded), engine), theirs


def instances(kind: str, arguments: list[Any]) -> list[Any]:
    from lm_eval.api.instance import Instance  # pyright: ignore[reportMissingImports]

    return [Instance(kind, {}, one, n) for n, one in enumerate(arguments)]


def test_every_request_gives_the_numbers_of_transformers(run):
    pytest.importorskip("lm_eval")
    ours, theirs = models(run)
    contexts = ["", "the", "the word ", TEXT, TEXT * 9, "In the beginning was"]
    ends = [" word", "s", " 1, 2", "it's", " all that we"]
    pairs = [(context, end) for context in contexts for end in ends]
    found = ours.loglikelihood(instances("loglikelihood", pairs))
    expected = theirs.loglikelihood(instances("loglikelihood", pairs))
    assert [greedy for _, greedy in found] == [bool(greedy) for _, greedy in expected]
    assert [p for p, _ in found] == pytest.approx([float(p) for p, _ in expected], abs=2e-4)
    assert ours.engine.runner.pool.held == 0
    texts = [(TEXT * 5,), ("the",), (TEXT,)]
    rolled = ours.loglikelihood_rolling(instances("loglikelihood_rolling", texts))
    expected = theirs.loglikelihood_rolling(instances("loglikelihood_rolling", texts))
    assert rolled == pytest.approx(expected, abs=2e-3)
    asked = [(text, {"until": ["w", "."], "max_gen_toks": 9}) for text in contexts[1:]]
    asked += [
        (text, {"until": " ", "max_new_tokens": 5, "do_sample": False}) for text in contexts[1:]
    ]
    written = ours.generate_until(instances("generate_until", asked))
    assert written == theirs.generate_until(instances("generate_until", asked))
    assert any(written)
    for options, message in (
        ({"num_beams": 3, "max_gen_toks": 5}, "sets num_beams"),
        ({"max_gen_toks": 99}, "a task wants 99"),
    ):
        with pytest.raises(ConfigError, match=message):
            ours.generate_until(instances("generate_until", [("a", options)]))


def test_a_stride_gives_tokens_more_context(run):
    """Against one pass for each token, with the context that the windows give it."""
    pytest.importorskip("lm_eval")
    from gptpy.inference.lm_harness import HarnessModel

    loaded = gptpy.load(run, device="cpu", dtype="float32")
    prompts, engine = Prompts(loaded), Engine(loaded.model, loaded.tokenizer)
    model = HarnessModel(prompts, engine, max_length=20, stride=6)
    ids = [model.prefix_token_id, *loaded.tokenizer.encode_ordinary(TEXT)]
    total = 0.0
    loaded.model.requires_grad_(False)
    for place in range(1, len(ids)):
        first = place <= 20
        end = 21 if first else min(len(ids), 21 + 6 * math.ceil((place - 20) / 6))
        context = torch.tensor([ids[max(0, end - 21) : place]])
        total += float(loaded.model(context)[0][0, -1].log_softmax(-1)[ids[place]])
    (found,) = model.loglikelihood_rolling(instances("loglikelihood_rolling", [(TEXT,)]))
    assert found == pytest.approx(total, abs=1e-3)
    for wrong in ({"stride": 0}, {"stride": 49}, {"max_length": 49}):
        with pytest.raises(ConfigError, match="need 1 <= stride <= context"):
            HarnessModel(prompts, engine, **wrong)


def test_tasks_of_files_from_the_command_line(run, tmp_path, capsys):
    lm_eval = pytest.importorskip("lm_eval")
    rows = [
        {"question": TEXT[i : i + 12], "choices": [" word", " counted", "s", ", 2"],
         "answer": i % 4, "text": TEXT[i:] * 2, "reply": TEXT[i + 12 : i + 15]}
        for i in range(0, 40, 4)
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    kinds = {"own_choice": MULTIPLE, "own_rolling": ROLLING, "own_text": GENERATE}
    for name, kind in kinds.items():
        head = CHOICE.format(name=name, file=json.dumps(str(tmp_path / "rows.jsonl")))
        (tmp_path / f"{name}.yaml").write_text(head + kind)
    tasks = ["--task-folder", str(tmp_path), "--tasks"]
    command = ["eval", str(run), "--device", "cpu", *tasks, ",".join(kinds), "--json"]
    assert main(command) == 0
    ours = json.loads(capsys.readouterr().out.splitlines()[-1])["tasks"]
    manager = lm_eval.tasks.TaskManager(include_path=str(tmp_path))
    theirs = lm_eval.simple_evaluate(
        model=models(run)[1],
        tasks=list(kinds),
        task_manager=manager,
        log_samples=False,
        bootstrap_iters=0,
    )["results"]
    for name in kinds:
        numbers = {
            key: value
            for key, value in theirs[name].items()
            if isinstance(value, float) and "stderr" not in key
        }
        assert numbers
        for key, value in numbers.items():
            assert ours[name][key] == pytest.approx(value, rel=1e-4), (name, key)
    assert main([*command[:-1], "--limit", "2"]) == 0
    assert "acc_norm" in capsys.readouterr().out
    for words, message in (
        (["--tasks", "no_such_task"], "no_such_task: no such task"),
        ([*tasks, "own_choice", "--data", "x"], "leave out --data"),
        ([*tasks, "own_choice", "--limit", "0"], "--limit: expected at least 1"),
        (["--tasks", ","], "expected names as"),
        (["--tasks", "own_choice", "--task-folder", str(tmp_path / "missing")], "no such folder"),
        (["--fewshot", "1"], "--fewshot belongs to --tasks"),
    ):
        assert main(["eval", str(run), *words]) == 2
        assert message in capsys.readouterr().err
