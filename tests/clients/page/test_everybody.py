"""Names, contrast, keyboard, width: that everybody can use the page."""

from __future__ import annotations

from typing import Any

import pytest

from .browsing import Server, Watched, check, nameless, reachable, usable_by_everybody
from .driving import TABS, complete, expect, set_slider, visit, wait_till_written

pytestmark = pytest.mark.clients


# ---- For everybody


def open_everything(page: Any, tab: str) -> None:
    """A tab with as much on it as it can have."""
    page.get_by_role("tab", name=tab).click()
    if tab == "Continue":
        set_slider(page, "Most new tokens", 30)
        set_slider(page, "Temperature", 2)
        complete(page, "the cat")
        wait_till_written(page)
        page.get_by_role("button", name="Tokens view").click()
        page.locator(".token").nth(2).click()
        expect(page.locator(".about-token")).to_be_visible()
    elif tab == "Chat":
        page.get_by_label("Message", exact=True).fill("say a")
        page.get_by_role("button", name="Send").click()
        wait_till_written(page)
        page.get_by_text("System message").click()
    elif tab == "Tokenizer":
        page.get_by_label("Text to cut").fill("a line\n\tand another: 12345 🙂")
        expect(page.locator("#pieces-right li").first).to_be_visible()
    elif tab == "Run":
        expect(page.locator("#curve svg").first).to_be_visible()
        page.get_by_text("The figures as a table").click()
    else:
        page.get_by_label("Text to look into").fill("the cat sat on the mat " * 20)
        page.get_by_role("button", name="Show").click()
        expect(page.locator(".heat")).to_be_visible()


@pytest.mark.parametrize("tab", TABS)
def test_names_contrast_keyboard_and_width(watched: Watched, chat_server: Server, tab: str) -> None:
    page = visit(watched, chat_server)
    open_everything(page, tab)
    usable_by_everybody(page)


def test_tabs_by_keyboard_and_address(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    page.get_by_role("tab", name="Continue").focus()
    for name in [*TABS[1:], TABS[-1]]:
        page.keyboard.press("ArrowRight")
        tab = page.get_by_role("tab", name=name)
        assert tab.get_attribute("aria-selected") == "true"
        expect(page.locator(f"#{tab.get_attribute('aria-controls')}")).to_be_visible()
        expect(page.locator("[role=tabpanel]:visible")).to_have_count(1)
    assert page.url.endswith("#attention-panel")
    page.keyboard.press("Home")
    assert page.url.endswith("#complete-panel")
    page.goto(f"{server.url}/#run-panel")
    page.reload()
    expect(page.locator("#run-panel")).to_be_visible()
    assert page.locator("h1").count() == 1 and page.locator("main").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


def test_the_checks_find_what_they_look_for(browser: Any) -> None:
    """A page with every fault: the checks above cannot pass by finding nothing."""
    page = browser.new_page(viewport={"width": 360, "height": 700})
    page.set_content(
        """<button></button><input><button tabindex="-1">no key reaches it</button>
        <p style="color:#999;background:#fff">pale</p><div style="width:900px">wide</div>"""
    )
    assert len(nameless(page)) == 2
    assert len(check(page, "unreadable")) == 1
    assert check(page, "overflowing")
    wanted, found = reachable(page)
    assert wanted - found
    page.close()
