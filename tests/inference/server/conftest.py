"""A small run behind a real server on a free port, in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

import httpx
import torch

from gptpy.config import GPTConfig
from gptpy.config.data import DataConfig
from gptpy.config.run import RunConfig
from gptpy.inference.engine import Engine
from gptpy.inference.server.app import create_app
from gptpy.inference.server.running import Server, bound, configuration
from gptpy.inference.server.settings import ServerSettings
from gptpy.model import build_model
from gptpy.runs import checkpoint
from gptpy.runs.opening import Loaded, load
from gptpy.tokenizer import save_tokenizer, train_tokenizer

TEXT = "The quick brown fox, naïve and 日本語, jumps 👍 over the lazy dog. " * 40
VOCAB = 320


def make_run(folder: Path, form: str = "stream", **overrides: Any) -> Path:
    """A run directory of a random model whose next tokens are neither certain nor uniform."""
    folder.mkdir(parents=True)
    tokenizer = train_tokenizer([TEXT], VOCAB)
    shape = {
        "vocab_size": tokenizer.n_vocab, "block_size": 64, "n_layer": 2, "n_head": 2, "n_embd": 32,
    }  # fmt: skip
    torch.manual_seed(0)
    model: Any = build_model(GPTConfig(**{**shape, **overrides}))  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    data = DataConfig(form=form)  # type: ignore[arg-type]
    (folder / "config.toml").write_text(RunConfig(model=model.config, data=data).to_toml())
    save_tokenizer(tokenizer, folder)
    checkpoint.save(folder, 0, tensors={"model": model.state_dict()}, state={})
    return folder


class Running:
    """A server and a client for it."""

    def __init__(self, app: Any) -> None:
        self.app, self.service = app, app.state.service
        self.socket = bound("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)
        started = threading.Event()
        self.server = Server(configuration(app), started.set)
        serving = self.server.serve(sockets=[self.socket])
        self.thread = threading.Thread(target=asyncio.run, args=(serving,), daemon=True)
        self.thread.start()
        assert started.wait(30)

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return self.client.post(path, json=body, **more)

    def complete(self, **body: Any) -> dict[str, Any]:
        """The one choice of a completion."""
        answer = self.post("/v1/completions", {"prompt": "The quick", **body})
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]

    def close(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(make_run(tmp_path_factory.mktemp("runs") / "base"), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def chat_run(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = make_run(tmp_path_factory.mktemp("runs") / "chat", "chat", block_size=128)
    return load(folder, device="cpu", dtype="float32")


@contextmanager
def serving(
    loaded: Loaded,
    make_engine: Callable[[], Engine] | None = None,
    engine: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """A server with these settings."""

    def make() -> Engine:
        return Engine(loaded.model, loaded.tokenizer, **(engine or {}))

    given = ServerSettings(**{"name": "tiny", "grace_seconds": 5, **settings})
    running = Running(create_app(loaded, make_engine or make, given))
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def server(run: Loaded) -> Iterator[Running]:
    with serving(run) as running:
        yield running


@pytest.fixture(scope="module")
def chat_server(chat_run: Loaded) -> Iterator[Running]:
    with serving(chat_run) as running:
        yield running
