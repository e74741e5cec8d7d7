"""The report of a run in a browser: opened from a disk, offline, by everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gptpy.report.page import write_report
from gptpy.runs.opening import load

from .browsing import INJECTION, Watched, usable_by_everybody
from .driving import expect

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def report(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two texts, one of them hostile, in a folder of its own: what is sent to a friend."""
    loaded = load(base, device="cpu", dtype="float32")
    path = tmp_path_factory.mktemp("sent") / "report.html"
    return write_report(base, loaded, path, texts=["the cat sat on the mat", INJECTION])


def opened(watched: Watched, report: Path) -> Any:
    watched.page.context.set_offline(True)
    watched.page.goto(report.as_uri())
    return watched.page


def test_curves_samples_and_facts(watched: Watched, report: Path) -> None:
    page = opened(watched, report)
    expect(page.locator("#curve svg").first).to_be_visible()
    expect(page.locator("#curve svg").first).to_contain_text("bits per byte")
    expect(page.locator(".time li")).to_have_count(2)  # steps 20 and 40
    expect(page.get_by_role("heading", name="step 20")).to_contain_text("validation loss")
    expect(page.locator("main")).to_contain_text(INJECTION)
    assert page.title() != "taken over" and page.locator("main img").count() >= 4
    loaded = page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 100)")
    assert loaded
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_the_attention_explorer(watched: Watched, report: Path) -> None:
    page = opened(watched, report)
    expect(page.locator(".heat")).to_be_visible()
    before = page.locator(".heat").inner_html()
    page.get_by_role("radio", name="head 1", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="head 2", exact=True)).to_be_focused()
    expect(page.locator("#attention-maps h3")).to_contain_text("head 2")
    layer = page.get_by_label("Layer", exact=True)
    layer.select_option(label="layer 1")
    expect(page.locator("#attention-maps h3")).to_have_text("Layer 1, head 2")
    expect(page.locator(".looks li").first).to_contain_text("%")
    page.get_by_label("Text", exact=True).select_option(index=1)
    expect(page.locator("#attention-maps h3")).to_have_text("Layer 1, head 2")
    assert page.locator(".heat").inner_html() != before
    expect(page.locator("#announcements p").last).to_contain_text("heads on")


def test_tokens_and_their_alternatives(watched: Watched, report: Path) -> None:
    page = opened(watched, report)
    tokens = page.locator("#token-view .token")
    tokens.nth(0).focus()
    expect(page.locator(".about-token")).to_contain_text("nothing comes before it")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".about-token .alternative")).to_have_count(5)
    expect(page.locator(".about-token")).to_contain_text("The likeliest tokens here")
    assert page.locator(".about-token button").count() == 0, "a page cannot continue the text"
    page.keyboard.press("Escape")
    expect(page.locator(".about-token")).to_be_hidden()


def test_names_contrast_keyboard_and_width(watched: Watched, report: Path) -> None:
    page = opened(watched, report)
    page.get_by_text("The figures as a table").click()
    page.locator("summary", has_text="config.toml").click()
    page.locator("#token-view .token").nth(3).click()
    usable_by_everybody(page)
    assert page.locator("h1").count() == 1 and page.locator("html").get_attribute("lang") == "en"


def test_without_javascript_it_can_be_read(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(report.as_uri())
    expect(page.locator("main")).to_contain_text("bits per byte")
    expect(page.locator("#tokenizer")).to_contain_text("bytes per token")
    context.close()
