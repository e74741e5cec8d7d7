"""`gptpy serve`: what it answers for, and its end by signals, in processes of their own."""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch

from gptpy.cli import main
from gptpy.cli.serve import answered_hosts, is_loopback
from gptpy.config import GPTConfig
from gptpy.config.run import RunConfig
from gptpy.model import build_model
from gptpy.runs import checkpoint
from gptpy.tokenizer import save_tokenizer, train_tokenizer

pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    tokenizer = train_tokenizer(["the fox and the dog " * 20], 270)
    torch.manual_seed(0)
    shape = GPTConfig(vocab_size=tokenizer.n_vocab, block_size=32, n_layer=1, n_head=2, n_embd=32)
    (folder / "config.toml").write_text(RunConfig(model=shape).to_toml())
    save_tokenizer(tokenizer, folder)
    checkpoint.save(folder, 0, tensors={"model": build_model(shape).state_dict()}, state={})
    return folder


def started(run_dir, *options):
    command = [sys.executable, "-m", "gptpy", "serve", str(run_dir), "--port", "0", *options]
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "triton_kernels")])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


def address(process):
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, (line, process.stderr.read())
    return found[0]


def ask(url, **body):
    request = urllib.request.Request(
        f"{url}/v1/completions",
        json.dumps({"prompt": "the", "seed": 1, **body}).encode(),
        {"Content-Type": "application/json"},
    )
    return urllib.request.urlopen(request, timeout=60)


def test_signals(run_dir):
    """The first lets a stream go on to its end; the second does not wait."""
    processes = [started(run_dir) for _ in range(2)]
    try:
        urls = [address(process) for process in processes]
        streams = [
            ask(url, max_tokens=n, min_tokens=n, stream=True)
            for url, n in zip(urls, (200, 4000), strict=True)
        ]
        for process, stream in zip(processes, streams, strict=True):
            assert stream.readline().startswith(b"data: {")
            process.send_signal(signal.SIGTERM)
        text = streams[0].read()
        assert text.endswith(b"data: [DONE]\n\n")
        assert processes[0].wait(60) == 0
        error = processes[0].stderr
        assert error is not None and error.read() == ""
        if processes[1].poll() is None:
            time.sleep(0.2)
            processes[1].send_signal(signal.SIGTERM)
        assert processes[1].wait(60) in (0, 128 + signal.SIGTERM)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def fails(capsys, *words):
    """The line of a command that must fail."""
    assert main(["serve", *map(str, words)]) in (1, 2)
    error = capsys.readouterr().err
    assert error.startswith("gptpy: error: ") and error.count("\n") == 1
    return error


def test_mistakes_are_one_line(run_dir, capsys):
    assert "--port" in fails(capsys, run_dir, "--port", 70000)
    assert "no such run" in fails(capsys, run_dir / "nothing", "--port", 0)
    assert "api_key" in fails(capsys, run_dir, "--port", 0, "--api-key", "")
    assert "cannot listen on" in fails(capsys, run_dir, "--host", "no.such.host.invalid")
    assert "timeout_seconds" in fails(capsys, run_dir, "--port", 0, "--timeout", 0)


def test_a_port_that_is_taken(run_dir, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in fails(capsys, run_dir, "--port", port)


def test_without_the_extra_it_says_what_to_install(run_dir, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in [n for n in sys.modules if n.startswith("gptpy.inference.server")]:
        monkeypatch.delitem(sys.modules, name)
    assert "pip install 'gptpy-lm[serve]'" in fails(capsys, run_dir, "--port", 0)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("localhost", True), ("::1", True),
        ("[::1]", True), ("0.0.0.0", False), ("::", False), ("192.168.1.2", False),
        ("", False), ("example.org", False), ("localhost.example.org", False),
    ],
)  # fmt: skip
def test_who_reaches_an_address(host, local):
    assert is_loopback(host) is local
    assert (answered_hosts(host, []) is None) is not local


def test_names_that_are_answered():
    assert set(answered_hosts("127.0.0.1", []) or ()) == {"localhost", "127.0.0.1", "[::1]"}
    assert "a.example" in (answered_hosts("127.0.0.1", ["A.example"]) or ())
    assert {"0.0.0.0", "a"} <= set(answered_hosts("0.0.0.0", ["a"]) or ())


def test_a_warning_without_a_key(run_dir, monkeypatch, capsys):
    """Whoever listens for others without a key is told so."""
    from gptpy.inference.server import running

    monkeypatch.setattr(running, "serve", lambda app, where, say: say())
    for host, options, warned in (
        ("127.0.0.1", [], False), ("0.0.0.0", [], True), ("0.0.0.0", ["--api-key", "k"], False),
    ):  # fmt: skip
        assert main(["serve", str(run_dir), "--port", "0", "--host", host, *options]) == 0
        captured = capsys.readouterr()
        assert ("--api-key" in captured.err) is warned
        assert f"serving small on http://{host}:" in captured.out
    monkeypatch.setenv("GPTPY_API_KEY", "k")
    assert main(["serve", str(run_dir), "--port", "0", "--host", "0.0.0.0"]) == 0
    assert capsys.readouterr().err == ""


def test_the_namespace_is_complete():
    """Every limit of the command line reaches the settings or the engine."""
    from gptpy.cli import serve

    parser = argparse.ArgumentParser()
    serve.add(parser.add_subparsers())
    options = vars(parser.parse_args(["serve", "RUN"]))
    source = Path(serve.__file__).read_text(encoding="utf-8")
    engine = {"speculate", "guesses", "dtype", "step", "device"}  # `cli.generation` reads these
    for name in set(options) - engine - {"run", "dotted", "defaults", "overrides"}:
        assert f"arguments.{name}" in source or name == "run_dir", name
