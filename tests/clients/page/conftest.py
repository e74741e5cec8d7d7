"""Runs, servers and a browser for the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browsing import INJECTION, Server, Watched, find_chromium, serving, train_base, train_chat


@pytest.fixture(scope="package")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on plain text, whose name and samples are hostile."""
    run = tmp_path_factory.mktemp("runs") / "<img src=x onerror=alert(1)>"
    train_base(run)
    with (run / "samples.txt").open("a", encoding="utf-8") as file:
        file.write(f"\n{INJECTION}\n")
    return run


@pytest.fixture(scope="package")
def server(base: Path) -> Iterator[Server]:
    with serving(base) as found:
        yield found


@pytest.fixture(scope="package")
def slow_server(base: Path) -> Iterator[Server]:
    """One that takes a twentieth of a second for each token."""
    with serving(base, step_seconds=0.05) as found:
        yield found


@pytest.fixture(scope="package")
def chat_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(train_chat(tmp_path_factory.mktemp("runs") / "chat")) as found:
        yield found


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium here: install the distribution's package chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as tools:
        # Containers run as root and have a small /dev/shm
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        found = tools.chromium.launch(executable_path=chromium, args=arguments)
        yield found
        found.close()


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    """A new page. At the end: nothing on the console, no word with any other server."""
    size = {"width": 1280, "height": 900}
    context = browser.new_context(viewport=size, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    found = Watched(context.new_page())
    yield found
    context.close()
    assert found.errors == []
    assert len(found.hosts) <= 1, found.hosts
