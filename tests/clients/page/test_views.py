"""Tokenizer, run and attention, in a real browser against a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .browsing import INJECTION, Server, Watched
from .driving import expect, visit

pytestmark = pytest.mark.clients


# ---- Tokenizer


def test_two_encodings_side_by_side(watched: Watched, server: Server) -> None:
    page = visit(watched, server, "Tokenizer")
    text = "Hello,  wörld!\n\tdef f(x): 12345 👍🏽 <|endoftext|>"
    page.get_by_label("First encoding", exact=True).select_option("gpt2")
    page.get_by_label("Second encoding", exact=True).select_option("cl100k_base")
    page.get_by_label("Text to cut").fill(text)
    for side, encoding in (("left", "gpt2"), ("right", "cl100k_base")):
        found = server.post("/tokenize", {"text": text, "encoding": encoding})
        expect(page.locator(f"#count-{side}")).to_contain_text(f"{found['count']} tokens")
        pieces = page.locator(f"#pieces-{side} li")
        expect(pieces).to_have_count(found["count"])
        ids = [int(one) for one in pieces.locator(".id").all_text_contents()]
        assert ids == found["ids"]
        shown = "".join(pieces.locator("code").all_text_contents())
        assert "··" in shown and "↵" in shown and "⇥" in shown and " " not in shown
        assert page.locator(f"#ids-{side}").text_content() == " ".join(map(str, found["ids"]))
    page.get_by_label("Text to cut").fill("")
    expect(page.locator("#count-left")).to_have_text("0 tokens")
    page.get_by_label("First encoding", exact=True).select_option("run")
    page.get_by_label("Text to cut").fill("x " * 9000)
    expect(page.locator("#pieces-right")).to_contain_text("more")


# ---- Run


def test_the_run_at_a_glance(watched: Watched, server: Server, base: Path) -> None:
    page = visit(watched, server, "Run")
    facts = server.get("/page/run")
    assert facts["curve"]["training"] and facts["curve"]["validation"]
    curve = page.get_by_role("img", name=re.compile("Training loss goes from"))
    expect(curve).to_be_visible()
    expect(curve).to_contain_text("loss (nats per token)")
    expect(curve).to_contain_text("training step")
    points = len(re.findall("[ML]", page.locator(".line.training").first.get_attribute("d")))
    assert points == len(facts["curve"]["training"])
    expect(page.locator("#run-model")).to_contain_text(
        f"{facts['parameters']:,}".replace(",", "\u202f")
    )
    expect(page.locator("#run-results")).to_contain_text("validation loss")
    expect(page.locator("#samples")).to_contain_text(INJECTION)
    page.get_by_text("The figures as a table").click()
    rows = page.locator("#curve tbody tr")
    assert rows.count() >= len(facts["curve"]["validation"])
    # A run that goes on: the next look shows what has come
    last = facts["curve"]["training"][-1][0]
    with (base / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "step", "step": last + 1, "loss": 1.0}) + "\n")
    page.get_by_role("tab", name="Chat").click()
    page.get_by_role("tab", name="Run").click()
    expect(page.get_by_role("img", name=re.compile(f"over {last + 1} steps"))).to_be_visible()


# ---- Attention


def test_attention_of_a_text(watched: Watched, server: Server) -> None:
    page = visit(watched, server, "Attention")
    page.get_by_label("Text to look into").fill("the cat sat")
    page.get_by_role("button", name="Show").click()
    maps = server.post("/page/attention", {"text": "the cat sat", "layer": 0})
    count = len(maps["tokens"])
    expect(page.get_by_role("radiogroup", name="Head").get_by_role("radio")).to_have_count(2)
    expect(page.locator(".heat rect[fill]")).to_have_count(count * (count + 1) // 2)
    # The figures of the last token, and of another one by keyboard
    looks = page.locator(".looks li")
    best = max(maps["weights"][0][-1])
    expect(looks.first).to_contain_text(f"{100 * best:.1f} %")
    tokens = page.get_by_role("radiogroup", name="Token whose attention is listed")
    tokens.get_by_role("radio").first.focus()
    expect(looks).to_have_count(1)  # the first token sees itself alone
    expect(looks.first).to_contain_text("100 %")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".looks p")).to_contain_text("token 2")
    # Another head, another layer
    page.get_by_role("radio", name="head 2").click()
    expect(page.get_by_role("heading", name="Layer 1, head 2")).to_be_visible()
    page.get_by_label("Layer", exact=True).select_option("layer 2")
    expect(page.get_by_role("heading", name="Layer 2, head 2")).to_be_visible()
    page.get_by_label("Text to look into").fill("")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#attention-error")).to_have_text("Write a text first.")
