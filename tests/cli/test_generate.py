"""`gptpy generate`: prompts from everywhere, every option reaches the engine, mistakes are told."""

import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gptpy
from gptpy.cli import main
from gptpy.config.data import DataConfig
from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.sampling import Sampling

from ..small_run import END, make_run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def generate(run, capsys):
    """Calls the command; gives standard output, or rows of JSON with --json."""

    def call(*words, where=None):
        code = main(["generate", str(where or run), *map(str, words)])
        out, err = capsys.readouterr()
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()] if "--json" in words else out

    return call


@pytest.fixture
def refuse(run, capsys):
    """Calls the command; gives its one line about what is wrong."""

    def call(*words, where=None):
        code = None
        try:
            code = main(["generate", str(where or run), *map(str, words)])
        except SystemExit as left:  # argparse
            code = left.code
        out, err = capsys.readouterr()
        assert code == 2 and out == "" and err.count("\n") == 1, (code, out, err)
        return err

    return call


def feed(monkeypatch, data: bytes):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def test_one_text_from_an_option_a_file_and_standard_input(generate, tmp_path, monkeypatch):
    words = ("--tokens", 9, "--seed", 4)
    text = generate("-p", "the word", *words)
    assert text.startswith("the word") and text.endswith("\n")
    assert generate("-p", "the word", *words) == text == generate("-p", "the word", *words)
    assert generate("-p", "the word", *words, "--stream") == text
    assert generate("-p", "the word", "--tokens", 9, "--seed", 5) != text
    (tmp_path / "a.txt").write_bytes(b"the word\n")
    assert generate("--prompt-file", tmp_path / "a.txt", *words) == text
    feed(monkeypatch, b"the word\r\n")
    assert generate("--prompt-file", "-", *words) == text
    feed(monkeypatch, b"the word\n")  # no file: nothing is read that was not asked for
    assert not generate(*words).startswith("the word")


def test_a_pipe_is_read_where_no_prompt_is_given(run):
    command = [sys.executable, "-m", "gptpy", "generate", str(run), "--tokens", "3", "--seed", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, input=b"the word\n", capture_output=True, env=environment)
    assert done.returncode == 0 and done.stdout.startswith(b"the word"), done.stderr


def test_many_prompts_give_what_each_gives_alone(generate, tmp_path):
    words = ("--tokens", 7, "--seed", 3, "--json")
    lines = ["the word", "", "it's all", "and", "é"]
    (tmp_path / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    rows = generate("--prompts", tmp_path / "a.txt", *words)
    assert [row["prompt"] for row in rows] == ["the word", "it's all", "and", "é"]
    (tmp_path / "one.txt").write_text("and\nand")  # also computed exactly
    assert generate("--prompts", tmp_path / "one.txt", *words)[0]["ids"] == rows[2]["ids"]
    objects = [{"prompt": "and"}, "and", {"prompt": rows[2]["prompt_ids"]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, objects)))
    again = generate("--prompts", tmp_path / "a.jsonl", *words)
    assert [row["ids"] for row in again] == [rows[2]["ids"]] * 3
    shown = generate("--prompts", tmp_path / "a.txt", "--tokens", 7, "--seed", 3)
    texts = [row["prompt"] + row["text"] for row in rows]
    assert shown == "\n\n---\n".join(texts) + "\n"
    streamed = generate("--prompts", tmp_path / "a.txt", "--tokens", 7, "--seed", 3, "--stream")
    assert streamed == shown


def test_rows_of_json_say_what_the_engine_says(run, generate):
    words = ["-p", "the", "--tokens", 6, "--seed", 8, "-n", 2, "--logprobs", 3, "--json"]
    rows = generate(*words)
    loaded = gptpy.load(run, device="cpu")
    engine = Engine(loaded.model, loaded.tokenizer, exact=False)
    request = Request(
        loaded.tokenizer.encode_ordinary("the"), 6, sampling=Sampling(0.8), seed=8, n=2, logprobs=3,
        end_ids=frozenset(loaded.ends),
    )  # fmt: skip
    (handle,) = engine.generate([request])
    for row, output in zip(rows, handle.outputs, strict=True):
        assert row["ids"] == output.ids and row["text"] == output.text
        assert row["logprobs"] == pytest.approx([one.logprob for one in output.logprobs])
        assert [[tuple(pair) for pair in place] for place in row["alternatives"]] == [
            one.alternatives for one in output.logprobs
        ]
        assert row["finish_reason"] == output.finish_reason == "length"
        assert row["prompt_ids"] == list(request.prompt) and row["seed"] == 8 + output.index
        assert row["tokens_per_second"] > 0 and row["seconds_to_first_token"] > 0
    assert "alternatives" not in generate("-p", "the", "--tokens", 2, "--json")[0]


def test_every_option_of_sampling_reaches_it(generate):
    """Each option changes the ids, or keeps to what it says."""
    greedy = ["-p", "the", "--tokens", 12, "--temperature", 0, "--json"]

    def ids(*words):
        return generate(*greedy, *words)[0]["ids"]

    plain = ids()
    assert ids("--ban", f"{plain[0]},{plain[1]}")[0] not in plain[:2]
    assert set(ids("--allow", "70,71", "--allow", "72")) <= {70, 71, 72}
    assert ids("--logit-bias", "33=1e9") == [33] * 12
    assert ids("--logit-bias", f"{plain[0]}=-inf")[0] != plain[0]
    for option, value in {"repetition": 9, "presence": 99, "frequency": 99}.items():
        found = ids(f"--{option}-penalty", value)
        assert found != plain and len(set(found)) > len(set(plain)), option
    assert ids("--repetition-penalty", 9, "--repetition-window", 1) != ids(
        "--repetition-penalty", 9
    )
    drawn = ["-p", "the", "--tokens", 12, "--temperature", 3, "--seed", 2, "--json"]
    free = generate(*drawn)[0]["ids"]
    assert free != plain
    for option, value in {"top-k": 1, "top-p": 1e-6, "min-p": 1, "typical-p": 1e-6}.items():
        found = generate(*drawn, f"--{option}", value)[0]["ids"]
        assert found != free, option
        assert (found == plain) or option == "typical-p"
    text = generate(*greedy)[0]["text"]
    stopped = generate(*greedy, "--stop", text[4:6])[0]
    assert stopped["text"] == text[: text.index(text[4:6])] and stopped["finish_reason"] == "stop"
    assert stopped["stopped_by"] == text[4:6]
    kept = generate(*greedy, "--stop", text[4:6], "--min-tokens", 12)[0]
    assert kept["ids"] == plain


def test_beams_and_their_scores(generate):
    rows = generate("-p", "the", "--tokens", 5, "--beams", 4, "-n", 3, "--json")
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True) and len({tuple(r["ids"]) for r in rows}) == 3
    assert "logprobs" not in rows[0] and "seed" not in rows[0]
    again = generate("-p", "the", "--tokens", 5, "--beams", 4, "--length-penalty", 0, "--json")
    total = rows[0]["score"] * len(rows[0]["ids"])
    assert again[0]["score"] >= total - 1e-4


def test_guesses_change_no_text_and_are_counted(run, generate, tmp_path):
    words = (
        "-p",
        "the word, the word",
        "--tokens",
        20,
        "--seed",
        3,
        "--temperature",
        0.1,
        "--json",
    )
    expected = generate(*words)[0]
    for source in ("lookup", make_run(tmp_path / "draft", seed=1), run):
        row = generate(*words, "--speculate", source, "--guesses", 3)[0]
        assert row["ids"] == expected["ids"]
        if source == run:  # guesses of the model itself are right
            assert row["guessed"] > 10 and row["guessed_right"] == row["guessed"]


def test_text_that_must_match(generate, tmp_path):
    pytest.importorskip("llguidance")
    words = ["-p", "the", "--tokens", 40, "--seed", 1]
    text = generate(*words, "--regex", "[ab]{3}c", "--json")[0]["text"]
    assert len(text) == 4 and text[3] == "c" and set(text[:3]) <= {"a", "b"}
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"],
              "additionalProperties": False}  # fmt: skip
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    for given in (json.dumps(schema), f"@{tmp_path / 'schema.json'}"):
        row = generate(*words, "--json-schema", given, "--json")[0]
        assert row["finish_reason"] == "length" or type(json.loads(row["text"])["a"]) is bool
    assert generate(*words, "--grammar", 'start: "x" "y"', "--json")[0]["text"] == "xy"


def test_a_conversation_and_a_pair_of_texts(generate, tmp_path, capsys):
    chat = make_run(tmp_path / "chat", data=DataConfig(form="chat"))
    loaded = gptpy.load(chat, device="cpu")
    turn = loaded.tokenizer.encode_ordinary("User:\nthe\n\n"), loaded.end_of_text
    row = generate("-p", "the", "--tokens", 3, "--json", where=chat)[0]
    assert row["prompt_ids"][: len(turn[0]) + 1] == [turn[1], *turn[0]]
    assert not generate("-p", "the", "--tokens", 3, where=chat).startswith("the")
    raw = generate("-p", "the", "--tokens", 3, "--raw", "--json", where=chat)[0]
    assert raw["prompt_ids"] == [turn[1], *loaded.tokenizer.encode_ordinary("the")]
    assert generate("-p", "the", "--tokens", 3, "--raw", where=chat).startswith("the")
    messages = {"messages": [{"role": "user", "content": "the"}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(messages))
    said = generate("--prompts", tmp_path / "a.jsonl", "--tokens", 3, "--json", where=chat)[0]
    assert said["prompt_ids"] == row["prompt_ids"] and said["messages"] == messages["messages"]
    shape = {"architecture": "encoder-decoder", "n_encoder_layer": 1}
    pairs = make_run(tmp_path / "pairs", data=DataConfig(form="pairs"), **shape)
    row = generate("-p", "the", "--tokens", 4, "--seed", 1, "--json", where=pairs)[0]
    end = gptpy.load(pairs, device="cpu").end_of_text
    assert row["prompt_ids"] == [end] and row["source_ids"][-1] == end and len(row["ids"]) <= 4
    shown = generate("-p", "the", "--tokens", 4, "--seed", 1, where=pairs)
    assert shown == row["text"] + "\n"


def test_mistakes_are_one_line(refuse, run, tmp_path, monkeypatch):
    bad = tmp_path / "bad.jsonl"

    def lines(text):
        bad.write_text(text)
        return refuse("--prompts", bad)

    assert "line 2: no JSON" in lines('"a"\n{')
    assert "line 1: expected a text" in lines('{"prompt": "a", "seed": 1}')
    assert "a text or a list of ids" in lines('{"prompt": [1, true]}')
    assert "line 1: prompt: expected ids from 0" in lines('{"prompt": [1, 99999]}')
    assert "line 1: prompt: expected at least one id" in lines('{"prompt": []}')
    assert "line 1: this model has no chat template" in lines('{"messages": [{"role": "user", '
                                                             '"content": "a"}]}')  # fmt: skip
    assert "no chat template" in refuse("-p", "a", "--chat")
    assert "message 1" in lines('{"messages": ["a"]}')
    assert "role must be" in lines('{"messages": [{"role": "tool", "content": "a"}]}')
    assert "holds no prompt" in lines("\n\n")
    assert "no such file" in refuse("--prompts", tmp_path / "missing")
    assert "no such file" in refuse("-p", "a", "--json-schema", f"@{tmp_path / 'missing'}")
    assert "not allowed with" in refuse("-p", "a", "--prompt-file", "b")
    assert "--stream and --json" in refuse("--stream", "--json")
    assert "--jsonl belongs to" in refuse("--jsonl")
    assert "--logprobs belongs to" in refuse("--logprobs", 1)
    assert "--guesses belongs to" in refuse("--guesses", 1)
    assert "top_p: expected" in refuse("--top-p", 2)
    assert "temperature: expected" in refuse("--temperature", "nan")
    assert "beams" in refuse("--beams", 2, "--stop", "a")
    assert "min_tokens" in refuse("--tokens", 2, "--min-tokens", 3)
    assert "expected ID=BIAS" in refuse("--logit-bias", "a")
    assert "logit_bias: expected ids" in refuse("--logit-bias", "9999=1")
    assert "expected ids as" in refuse("--ban", "a")
    assert "do not fit the context of 64" in refuse("--tokens", 99, "--context", "error")
    assert "regex cannot be used" in refuse("-p", "a", "--regex", "(")
    other = make_run(tmp_path / "other", special=("<s>", END))
    assert "its tokenizer is another" in refuse("--speculate", other)
    feed(monkeypatch, b"\xff")
    assert "standard input: expected UTF-8" in refuse("--prompt-file", "-")
    encoder = make_run(tmp_path / "encoder", architecture="encoder")
    assert "an encoder does not generate" in refuse("-p", "a", where=encoder)
    bare = make_run(tmp_path / "bare", special=())
    assert "no end-of-text token to start from" in refuse(where=bare)


def test_broken_weights_are_told_and_other_texts_stand_alone(tmp_path, capsys):
    broken = make_run(tmp_path / "broken")
    loaded = gptpy.load(broken, device="cpu")
    token = loaded.tokenizer.encode_ordinary("!")[0]
    state = loaded.model.state_dict()
    state["token_embedding.weight"][token] = math.nan
    from gptpy.runs import checkpoint

    checkpoint.save(broken, 1, tensors={"model": state}, state={})
    for words in (["--stream"], ["--json"], []):
        code = main(["generate", str(broken), "-p", "!", "--tokens", "3", *words])
        out, err = capsys.readouterr()
        assert code == 1 and "not finite" in out + err
        assert ("gptpy: error:" in err) == ("--json" not in words)
