"""What the tests of the page need: small runs, a server of them, a browser, and checks of a page."""

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

WORDS = "the cat sat on a mat and the dog ran to it . ".split()
TINY = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_kv_head": 2, "block_size": 64}
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
    train = {"steps": 60, "batch_size": 8, "log_every": 1, "eval_every": 20, "sample_every": 30}
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
    mapping = {"model": model, "data": data, "train": {"dtype": "float32", "compile": "off", "optim": {"lr": 0.01}, **train}}
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
        if role == "group" and not node.get("name", {}).get("value"):
            # `details` is a group, too, whose summary says what it holds
            kind = node.get("backendDOMNodeId")
            continue_if = _tag(page, kind)
            if continue_if == "DETAILS":
                continue
        if not node.get("name", {}).get("value", "").strip():
            found.append(f"{role} {_tag(page, node.get('backendDOMNodeId'))}")
    return found


def _tag(page: Any, node: int | None) -> str:
    session = page.context.new_cdp_session(page)
    try:
        return session.send("DOM.describeNode", {"backendNodeId": node})["node"]["nodeName"]
    finally:
        session.detach()


FOCUSED = """() => { const e = document.activeElement;
  return e.tagName.toLowerCase() + (e.id ? '#' + e.id : ''); }"""

# Text whose contrast against what is behind it is below 4.5 (3 where it is large): WCAG 2, 1.4.3.
# Controls that are switched off are exempt there.
UNREADABLE = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a)];
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    return layers.reverse().reduce((below, layer) => over(layer, below), dark ? [18, 18, 18] : [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest(':disabled, .unseen, noscript, option, script')) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const colour = element.closest('svg') ? style.fill : style.color;
    const front = over(parse(colour), ground);
    const [a, b] = [light(front), light(ground)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""

# What is wider than the window. What scrolls inside its own frame is not.
OVERFLOWING = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll('body *')]
    .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > width + 1)
    .map((e) => e.tagName + '.' + e.className).slice(0, 9);
}"""

# Everything that can be operated, once; of tabs, tokens and radios the group's one stop.
OPERABLE = """() => {
  const all = 'a[href], button, input, select, textarea, summary, [role=button], [role=tab], [role=radio]';
  const groups = '[role=tablist], [role=radiogroup], .tokens';
  const found = new Set();
  let number = 0;
  for (const element of document.querySelectorAll(all)) {
    if (element.disabled || !element.checkVisibility()) continue;
    const group = element.closest(groups);
    const stop = group ? group.querySelector('[tabindex="0"]') : element;
    stop?.setAttribute('data-stop', stop.dataset.stop ?? `${++number} ${stop.outerHTML.slice(0, 60)}`);
    found.add(stop ? stop.dataset.stop : 'a group without a stop');
  }
  return [...found];
}"""


def reachable(page: Any) -> tuple[set[str], set[str]]:
    """What can be operated, and what of it the tab key reaches, in one round."""
    page.evaluate("document.activeElement.blur()")
    wanted = set(page.evaluate(OPERABLE))
    found = set()
    for _ in range(len(wanted) + 20):
        page.keyboard.press("Tab")
        found.add(page.evaluate("document.activeElement.dataset.stop ?? ''"))
    return wanted, found & wanted
