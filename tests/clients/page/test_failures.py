"""Hostile text, and everything that goes wrong between page and server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .browsing import INJECTION, Server, Watched, serving
from .driving import complete, expect, visit, wait_till_begun, wait_till_written

pytestmark = pytest.mark.clients


# ---- Hostile text


def test_text_is_never_markup(watched: Watched, server: Server) -> None:
    """From the user, the model, the run's name, samples, alternatives and error messages."""
    page = visit(watched, server)
    assert page.locator("#model-name").text_content() == "<img src=x onerror=alert(1)>"
    token = {"id": 1, "token": INJECTION, "logprob": -0.1}
    logprobs = {"tokens": [INJECTION], "token_logprobs": [-0.1], "alternatives": [[token, token]]}
    choice = {"index": 0, "text": INJECTION, "finish_reason": "stop", "token_ids": [1]}
    event = {"choices": [{**choice, "logprobs": logprobs}]}
    page.route(
        "**/v1/completions",
        lambda route: route.fulfill(
            content_type="text/event-stream",
            body=f": hello\n\ndata: {json.dumps(event)}\n\ndata: [DONE]\n\n",
        ),
    )
    complete(page, INJECTION)
    expect(page.locator(".written")).to_have_text(INJECTION)
    expect(page.locator("span.prompt")).to_have_text(INJECTION)
    page.get_by_role("button", name="Tokens view").click()
    page.locator(".token").click()
    expect(page.locator(".alternatives button")).to_have_count(2)
    page.route(
        "**/v1/completions",
        lambda route: route.fulfill(status=400, json={"error": {"message": INJECTION}}),
    )
    complete(page, "again")
    expect(page.locator(".answer .error")).to_have_text(INJECTION)
    watched.errors.clear()  # the browser reports every answer that is no success
    page.get_by_role("tab", name="Tokenizer").click()
    page.get_by_label("Text to cut").fill(INJECTION)
    expect(page.locator("#pieces-left li").first).to_have_text(re.compile("^<"))
    page.get_by_role("tab", name="Attention").click()
    page.get_by_label("Text to look into").fill(INJECTION)
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".heat")).to_be_visible()
    assert page.locator("body img, body script").count() == 0
    assert "taken over" not in page.title()


def test_the_policy_holds(watched: Watched, server: Server) -> None:
    """Were there a hole, the browser would not run what came through it."""
    page = visit(watched, server)
    blocked = """() => { try { document.body.innerHTML = '<b>x</b>'; return false; }
        catch { return true; } }"""
    assert page.evaluate(blocked)
    load = """() => new Promise((done) => { const image = new Image();
        image.onerror = () => done(true); image.onload = () => done(false);
        image.src = 'http://127.0.0.1:9/x.png'; })"""
    assert page.evaluate(load)
    assert any("Content Security Policy" in text for text in watched.errors)
    watched.errors.clear()
    watched.hosts.clear()


# ---- What goes wrong


def test_a_key_is_asked_for(watched: Watched, base: Path) -> None:
    with serving(base, api_key="s3cret") as server:
        page = watched.page
        page.goto(server.url)
        expect(page.locator("#page-error")).to_contain_text("The server asks for an API key.")
        key = page.get_by_label("API key")
        key.fill("wrong")
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#page-error")).to_contain_text("does not take this API key")
        key.fill("schlüssel")  # no header can hold it
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#page-error")).to_contain_text("does not take this API key")
        key.fill("s3cret")
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#model-facts")).to_contain_text("parameters")
        expect(page.locator("#page-error")).to_be_hidden()
        complete(page, "the cat", most_new_tokens=3)
        wait_till_written(page)
        # Kept for this window only
        assert page.evaluate("localStorage.length") == 0
        assert "s3cret" not in page.url
        page.reload()
        expect(page.locator("#model-facts")).to_contain_text("parameters")
    assert watched.errors and all("401" in text for text in watched.errors)
    watched.errors.clear()


ANSWERS: list[tuple[dict[str, Any], str]] = [
    ({"status": 429, "headers": {"Retry-After": "3"}, "json": {}}, "Try again in 3 seconds."),
    ({"status": 429, "body": "no"}, "busy with other requests. Try again in a moment."),
    ({"status": 413, "body": ""}, "longer than the server takes"),
    ({"status": 503, "json": {"error": {"message": "the server is stopping"}}}, "stopping"),
    ({"status": 500, "body": "<html>"}, "The server failed."),
    ({"status": 418, "body": ""}, "refused this (status 418)"),
    ({"status": 200, "body": 'data: {"choices": []}\n\n'}, "before the text was complete"),
    ({"status": 200, "body": 'data: {"error": {"message": "it broke"}}\n\n'}, "it broke"),
    ({"status": 200, "body": "data: {\n\n"}, "could not be read"),
]


def _answering(answer: dict[str, Any]) -> Callable[[Any], None]:
    return lambda route: route.fulfill(**answer)


def test_errors_in_plain_words(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    for answer, words in ANSWERS:
        page.route("**/v1/completions", _answering(answer))
        complete(page, "the cat")
        error = page.locator(".answer .error")
        expect(error).to_contain_text(words)
        assert error.get_attribute("role") == "alert"
        expect(page.get_by_role("button", name="Stop")).to_be_disabled()
        page.unroute("**/v1/completions")
    watched.errors.clear()


def test_a_server_that_is_gone(watched: Watched, base: Path) -> None:
    with serving(base, step_seconds=0.05) as server:
        page = visit(watched, server)
        complete(page, "the cat", most_new_tokens=500)
        wait_till_begun(page)
    expect(page.locator(".answer .error")).to_contain_text(re.compile("stopping|lost|ended"))
    complete(page, "again")
    expect(page.locator(".answer .error")).to_contain_text("cannot be reached")
    watched.errors.clear()
