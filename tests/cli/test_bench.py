"""`gptpy bench`: what it counts, and that it says so."""

import json

import pytest

import gptpy
from gptpy.cli import main
from gptpy.inference import bench
from gptpy.inference.engine import Engine

from ..small_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


class Clock:
    """Time that passes by one second a step of the engine."""

    def __init__(self, monkeypatch, engine):
        self.now = 0.0
        step = engine.step

        def stepped():
            self.now += 1
            return step()

        monkeypatch.setattr(engine, "step", stepped)
        monkeypatch.setattr("time.monotonic", lambda: self.now)


def test_tokens_and_times_are_counted(run, monkeypatch):
    """With one second a step: prompts of 10 in steps of 16 tokens, then one step a token."""
    loaded = gptpy.load(run, device="cpu")
    engine = Engine(loaded.model, None, max_running=4, step_tokens=16)
    Clock(monkeypatch, engine)
    speed = bench.measure(engine, 4, 10, 20, repeats=1)
    # 16 tokens of prompts in the first step, fewer then, as texts that run need one each
    assert speed.first_token == 2.0 and speed.last_first_token == 3.0
    assert speed.prefill == pytest.approx(4 * 10 / 3)
    # all have their first token after three steps; the first text ends after 20
    assert 3.5 < speed.decode <= 4.0
    assert engine.runner.pool.held == 0


def test_memory_is_that_of_the_weights(run):
    loaded = gptpy.load(run, device="cpu")
    taken = bench.memory(Engine(loaded.model))
    weights = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
    buffers = sum(b.numel() * b.element_size() for b in loaded.model.buffers())
    # A head that shares the embedding's weights may be there in oneDNN's layout, too.
    assert weights <= taken.weights <= 2 * weights + buffers
    assert taken.cache_per_token == 2 * 16 * 4 and taken.peak > 10 * 2**20
    eight = bench.memory(Engine(loaded.model, number_type="int8"))
    assert eight.weights < taken.weights


def test_the_command(run, capsys, one_thread):
    words = ["bench", str(run), "--batch", "1,3", "--repeats", "1", "--device", "cpu"]
    assert main([*words, "--json", "--tokens", "8"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["batch"] for row in found["speed"]] == [1, 3]
    assert all(value > 0 for row in found["speed"] for value in row.values())
    assert found["prompt_tokens"] == 32 and found["new_tokens"] == 8
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "decode, tokens/s" in out and "a token of keys and values" in out
    for wrong, message in (
        (["--repeats", "0"], "--repeats: expected at least 1"),
        (["--prompt-tokens", "0"], "--prompt-tokens: expected at least 1"),
        (["--prompt-tokens", "60", "--tokens", "9"], "at most 64 together"),
        (["--tokens", "1"], "at least 2 new"),
        (["--dtype", "float64"], "invalid choice"),
        (["--batch", "0"], "expected numbers from 1 to"),
        (["--batch", "1,99999999999"], "expected numbers from 1 to"),
    ):
        try:
            code = main([*words[:2], *wrong])
        except SystemExit as left:
            code = left.code
        assert code == 2 and message in capsys.readouterr().err
