"""What the tests of the page need: small runs, a server, a browser, and checks of a page."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptpy.inference.engine import Engine
from gptpy.inference.request import Statistics
from gptpy.runs.opening import load
from gptpy.runs.progress import Silent
from gptpy.train.run import run_training

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "to", "it", "."]
TINY = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_kv_head": 2, "block_size": 64}
INJECTION = "<img src=x onerror=\"document.title='taken over'\"><script>1</script>"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The distribution's browser, or None."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


# ---- Runs


def train_base(run: Path) -> Path:
    """A run on plain text that has learned a little: some next tokens are likely, some are not."""
    source = run.parent / "text.txt"
    text = " ".join(WORDS[(i * i + i // 7) % len(WORDS)] for i in range(3000))
    source.write_text(text + "\n", encoding="utf-8")
    data = {"sources": [str(source)], "tokenizer": "bytes:300", "validation": 0.1}
    train = {"steps": 40, "batch_size": 8, "log_every": 1, "eval_every": 20, "sample_every": 20}
    return _train(run, data, {**train, "sample_prompt": "the", "sample_tokens": 20})


def train_chat(run: Path) -> Path:
    """A run on instructions."""
    source = run.parent / "rows.jsonl"
    rows = [{"prompt": f"say {word}", "response": f"{word} {word}"} for word in WORDS]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows * 10), encoding="utf-8")
    data = {"sources": [str(source)], "tokenizer": "bytes:300", "form": "chat"}
    return _train(run, data, {"steps": 40, "batch_size": 8, "eval_every": 20, "log_every": 1})


def _train(run: Path, data: dict[str, Any], train: dict[str, Any]) -> Path:
    model = {"preset": "modern-1m", **TINY}
    mapping = {
        "model": model,
        "data": data,
        "train": {"dtype": "float32", "compile": "off", "optim": {"lr": 0.01}, **train},
    }
    run_training(mapping, run, Silent())
    return run


# ---- A server


class Server:
    """A server that answers at `url`."""

    def __init__(self, url: str, app: Any) -> None:
        self.url, self._app = url, app

    def statistics(self) -> Statistics:
        """The engine's counts."""
        return self._app.state.service.engine.statistics

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer to a request that must succeed."""
        data = json.dumps(body).encode()
        return self._ask(
            urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        )

    def get(self, path: str) -> Any:
        """The same without a body."""
        return self._ask(urllib.request.Request(self.url + path))

    def _ask(self, request: urllib.request.Request) -> Any:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def serving(run: Path, *, step_seconds: float = 0.0, **settings: Any) -> Iterator[Server]:
    """A server of `run` in a thread. `step_seconds`: so much longer does each step take."""
    from gptpy.inference.server.app import create_app
    from gptpy.inference.server.running import Server as Running
    from gptpy.inference.server.running import bound, configuration
    from gptpy.inference.server.settings import ServerSettings

    loaded = load(run, device="cpu", dtype="float32")

    def make_engine() -> Engine:
        engine = Engine(loaded.model, loaded.tokenizer)
        engine.step = _slowed(engine.step, step_seconds)
        return engine

    grace: dict[str, Any] = {"grace_seconds": 0.0}
    app = create_app(loaded, make_engine, ServerSettings(name=run.name, **{**grace, **settings}))
    where = bound("127.0.0.1", 0)
    listening = threading.Event()
    server = Running(configuration(app), listening.set)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[where])))
    thread.start()
    try:
        assert listening.wait(30), "the server did not begin"
        yield Server(f"http://127.0.0.1:{where.getsockname()[1]}", app)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not end"


def _slowed(step: Callable[[], Any], seconds: float) -> Callable[[], Any]:
    def slow() -> Any:
        time.sleep(seconds)
        return step()

    return slow if seconds else step


# ---- Checks of a page

# Comments before an expression are no expression
CHECKS = Path(__file__).with_name("page_checks.js").read_text(encoding="utf-8").partition("\n")[2]
CONTROLS = {
    "button", "textbox", "slider", "spinbutton", "combobox", "tab", "tabpanel", "checkbox",
    "radio", "radiogroup", "listbox", "searchbox", "link", "image", "region", "log", "form",
    "group", "tablist", "complementary",
}  # fmt: skip


def nameless(page: Any) -> list[str]:
    """Controls, pictures and regions for which the browser itself finds no accessible name."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    found = []
    for node in nodes:
        role = node.get("role", {}).get("value", "")
        if node.get("ignored") or role not in CONTROLS:
            continue
        if not node.get("name", {}).get("value", "").strip():
            tag = _tag(page, node["backendDOMNodeId"])
            if tag != "DETAILS":  # a group, too: its summary says what it holds
                found.append(f"{role} {tag}")
    return found


def _tag(page: Any, node: int) -> str:
    session = page.context.new_cdp_session(page)
    try:
        return session.send("DOM.describeNode", {"backendNodeId": node})["node"]["nodeName"]
    finally:
        session.detach()


def check(page: Any, name: str) -> Any:
    """One of the checks in `page_checks.js`."""
    return page.evaluate(f"() => ({CHECKS}).{name}()")


def reachable(page: Any) -> tuple[set[str], set[str]]:
    """What can be operated, and what of it the tab key reaches, in one round."""
    page.evaluate("document.activeElement.blur()")
    wanted = set(check(page, "operable"))
    found = set()
    for _ in range(len(wanted) + 20):
        page.keyboard.press("Tab")
        found.add(page.evaluate("document.activeElement.dataset.stop ?? ''"))
    return wanted, found & wanted


class Watched:
    """A page whose console and requests are watched."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda m: m.type in ("error", "warning") and self.errors.append(m.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))


def usable_by_everybody(page: Any) -> None:
    """Asserts names, contrast, the keyboard and narrow screens of the page as it is open now."""
    assert nameless(page) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert check(page, "unreadable") == [], scheme
    wanted, found = reachable(page)
    assert found == wanted
    for width in (360, 700, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        for _ in range(100):  # what floats is moved when the browser tells of the new width
            page.wait_for_timeout(50)
            if not check(page, "overflowing"):
                break
        assert check(page, "overflowing") == [], width
