"""What a visitor does on the page."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .browsing import Server, Watched

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=6_000)

TABS = ["Continue", "Chat", "Tokenizer", "Run", "Attention"]


def visit(watched: Watched, server: Server, tab: str = "Continue") -> Any:
    page = watched.page
    page.goto(server.url)
    page.get_by_role("tab", name=tab).click()
    expect(page.locator("#model-facts")).to_contain_text("parameters")
    return page


def set_slider(page: Any, label: str, value: float | str) -> None:
    box = page.get_by_label(f"{label}, exact")
    box.fill(str(value))
    box.press("Tab")


def complete(page: Any, prompt: str, **settings: float) -> None:
    for label, value in settings.items():
        set_slider(page, label.replace("_", " ").capitalize(), value)
    page.get_by_label("Beginning of a text").fill(prompt)
    page.get_by_role("button", name="Continue", exact=True).click()


def wait_till_begun(page: Any) -> None:
    expect(page.locator(".written")).to_contain_text(re.compile(r"\w\w"))


def wait_till_written(page: Any) -> None:
    expect(page.locator(".answer .status")).to_contain_text("·")
    expect(page.locator("[aria-busy]")).to_have_count(0)
