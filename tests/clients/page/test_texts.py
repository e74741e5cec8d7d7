"""Continuing a text, its tokens, and chat, in a real browser against a real server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .browsing import Server, Watched, check
from .driving import complete, expect, set_slider, visit, wait_till_begun, wait_till_written

pytestmark = pytest.mark.clients


# ---- Completion


def test_a_text_is_continued_as_the_server_continues_it(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    page.get_by_label("Seed").fill("7")
    complete(page, "the cat", most_new_tokens=24, temperature=0.7)
    wait_till_written(page)
    body = {"prompt": "the cat", "max_tokens": 24, "temperature": 0.7, "seed": 7}
    alone = server.post("/v1/completions", body)["choices"][0]
    assert page.locator(".written").text_content() == alone["text"]
    assert page.locator("span.prompt").text_content() == "the cat"
    # What is heard: sentences in a live region, which together are the text
    said = " ".join(page.locator("#announcements p").all_text_contents())
    assert "".join(alone["text"].split()) in "".join(said.split())
    assert "Done: " in said


CHOSEN = {
    "Most new tokens": ("max_tokens", 3),
    "Temperature": ("temperature", 0.35),
    "Top-k": ("top_k", 5),
    "Top-p": ("top_p", 0.5),
    "Min-p": ("min_p", 0.1),
    "Repetition penalty": ("repetition_penalty", 1.3),
    "Presence penalty": ("presence_penalty", -1.5),
    "Frequency penalty": ("frequency_penalty", 1),
}
DEFAULTS = {"max_tokens": 128, "temperature": 0.8}


def sent(page: Any) -> dict[str, Any]:
    """The settings in the request for a completion."""
    with page.expect_request("**/v1/completions") as request:
        complete(page, "a")
    body = json.loads(request.value.post_data)
    wait_till_written(page)
    always = {"prompt": "a", "stream": True, "logprobs": 5, "return_token_ids": True}
    assert always.items() <= body.items()
    return {key: value for key, value in body.items() if key not in always}


def test_settings_are_sent_and_off_ones_are_not(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    for label, (_, value) in CHOSEN.items():
        set_slider(page, label, value)
        assert page.get_by_label(label, exact=True).input_value() == str(value)
    page.get_by_label("Seed").fill("12")
    assert sent(page) == {**dict(CHOSEN.values()), "seed": 12}
    page.get_by_role("button", name="Back to the defaults").click()
    assert sent(page) == DEFAULTS
    # The zero of a temperature is a value of its own
    set_slider(page, "Temperature", 0)
    set_slider(page, "Most new tokens", 1)
    assert sent(page) == {"max_tokens": 1, "temperature": 0}


def test_a_value_that_cannot_be_becomes_the_nearest(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    cases = [("Temperature", "99", "2"), ("Top-k", "3.4", "3"), ("Top-p", "0", "0.05")]
    for label, typed, kept in [*cases, ("Min-p", "", "0"), ("Presence penalty", "-9", "-2")]:
        set_slider(page, label, typed)
        for one in (label, f"{label}, exact"):
            assert page.get_by_label(one, exact=True).input_value() == kept
    seed = page.get_by_label("Seed")
    for typed, kept in (("-3", "0"), ("1.6", "2"), ("9e99", str(2**53 - 1)), ("7", "7")):
        seed.fill(typed)
        seed.press("Tab")
        assert seed.input_value() == kept


def test_every_slider_says_what_it_does(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    sliders = page.locator("#sliders input[type=range]")
    assert sliders.count() == 8
    for slider in sliders.all():
        sentence = page.locator(f"#{slider.get_attribute('aria-describedby')}").text_content()
        assert re.fullmatch(r"[A-Z].{30,160}\.", sentence), sentence
        slider.focus()
        before = slider.input_value()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        number = page.locator(
            f"#sliders input[type=number][data-field={slider.get_attribute('data-field')}]"
        )
        assert number.input_value() == slider.input_value()
        assert slider.input_value() != before or before == slider.get_attribute("max")


def test_stop_ends_a_text_and_keeps_it(watched: Watched, slow_server: Server) -> None:
    page = visit(watched, slow_server)
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_disabled()
    complete(page, "the cat", most_new_tokens=500)
    wait_till_begun(page)
    stop.click()
    expect(page.locator(".status")).to_contain_text("stopped by you")
    expect(stop).to_be_disabled()
    text = page.locator(".written").text_content()
    assert text
    # The server has stopped, too: nothing is running
    page.wait_for_timeout(300)
    statistics = slow_server.statistics()
    assert statistics.running == statistics.waiting == 0
    assert page.locator(".written").text_content() == text
    # The keyboard does not begin again at the top of the page
    assert check(page, "focused") != "body"


def test_a_second_text_ends_the_first(watched: Watched, slow_server: Server) -> None:
    page = visit(watched, slow_server)
    complete(page, "the cat", most_new_tokens=500)
    wait_till_begun(page)
    complete(page, "a dog", most_new_tokens=4)
    wait_till_written(page)
    assert page.locator(".answer").count() == 1
    assert page.locator("span.prompt").text_content() == "a dog"
    expect(page.locator(".status")).to_contain_text("4 tokens")


def test_an_empty_prompt_is_asked_for(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.locator("#completion-error")).to_have_text("Write the beginning of a text first.")


# ---- Tokens view


def test_tokens_have_the_models_probabilities(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    complete(page, "the cat", temperature=0, most_new_tokens=12)
    wait_till_written(page)
    page.get_by_role("button", name="Tokens view").click()
    expect(page.locator(".legend li")).to_have_count(6)
    body = {"prompt": "the cat", "max_tokens": 12, "temperature": 0, "logprobs": 5}
    choice = server.post("/v1/completions", {**body, "return_token_ids": True})["choices"][0]
    tokens = page.locator(".tokens .token")
    assert tokens.count() == len(choice["token_ids"]) == 12
    for i, logprob in enumerate(choice["logprobs"]["token_logprobs"]):
        token = tokens.nth(i)
        p = 2.718281828459045**logprob
        bounds = [0.9, 0.5, 0.2, 0.05, 0.01, 0]
        level = next(n for n, bound in enumerate(bounds) if p >= bound)
        assert f"p{level}" in token.get_attribute("class").split()
        shown = float(token.get_attribute("data-percent").split()[0].strip("<"))
        assert abs(shown - 100 * p) < 0.06
    # On hover and on focus: id, probability, alternatives
    tokens.nth(3).hover()
    about = page.locator(".about-token")
    expect(about).to_contain_text(f"id {choice['token_ids'][3]}")
    expect(about.locator(".alternatives button")).to_have_count(5)
    for i, other in enumerate(choice["logprobs"]["alternatives"][3]):
        label = about.locator(".alternatives button").nth(i).get_attribute("aria-label")
        assert f"id {other['id']}" in label
    page.mouse.move(5, 5)
    expect(about).to_be_hidden()
    page.get_by_role("button", name="Show percentages").click()
    shown = "getComputedStyle(document.querySelector('.token'), '::after').content"
    assert "%" in page.evaluate(shown)


def test_an_alternative_is_gone_on_with_by_ids(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    complete(page, "the cat", temperature=0, most_new_tokens=12)
    wait_till_written(page)
    page.get_by_role("button", name="Tokens view").click()
    body = {"max_tokens": 12, "temperature": 0, "logprobs": 5, "return_token_ids": True}
    before = server.post("/v1/completions", {**body, "prompt": "the cat"})["choices"][0]
    other = before["logprobs"]["alternatives"][4][2]
    page.locator(".tokens .token").nth(4).click()
    page.get_by_role("button", name=re.compile(rf", id {other['id']}$")).click()
    tokens = page.locator(".tokens .token")
    expect(tokens).to_have_count(4 + 1 + 12)
    wait_till_written(page)
    ids = server.post("/page/prompt", {"text": "the cat"})["ids"]
    ids = [*ids, *before["token_ids"][:4], other["id"]]
    after = server.post("/v1/completions", {**body, "prompt": ids})["choices"][0]
    picked = page.locator(".token.picked")
    assert picked.count() == 1 and "chosen by you" in picked.get_attribute("aria-label")
    start = server.post("/detokenize", {"ids": ids})["text"]
    page.get_by_role("button", name="Tokens view").click()
    assert "the cat" + page.locator(".written").text_content() == start + after["text"]


def test_tokens_by_keyboard(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    complete(page, "the cat", most_new_tokens=8)
    wait_till_written(page)
    page.get_by_role("button", name="Tokens view").click()
    page.locator(".token").first.focus()
    for key, index in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 7)):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.index") == str(index)
    expect(page.locator(".about-token")).to_be_visible()
    page.keyboard.press("Enter")  # into the alternatives
    assert page.evaluate("document.activeElement.closest('.alternatives') !== null")
    page.keyboard.press("Escape")  # and back
    assert page.evaluate("document.activeElement.dataset.index") == "7"
    expect(page.locator(".about-token")).to_be_hidden()
    # One stop of the tab key for all tokens
    assert page.locator(".token[tabindex='0']").count() == 1
    page.keyboard.press("Home")
    page.keyboard.press("Tab")  # the panel follows the tokens
    page.keyboard.press("Enter")
    expect(page.locator(".token")).to_have_count(1 + 8)
    wait_till_written(page)


# ---- Chat


def test_a_conversation(watched: Watched, chat_server: Server) -> None:
    page = visit(watched, chat_server, "Chat")
    expect(page.locator("#base-model")).to_be_hidden()
    set_slider(page, "Temperature", 0)
    set_slider(page, "Most new tokens", 10)
    message = page.get_by_label("Message", exact=True)
    message.fill("say a")
    message.press("Enter")
    wait_till_written(page)
    first = {"role": "user", "content": "say a"}
    body = {"temperature": 0, "max_tokens": 10}

    def reply(*messages: dict[str, str]) -> str:
        answer = chat_server.post("/v1/chat/completions", {**body, "messages": list(messages)})
        return answer["choices"][0]["message"]["content"]

    replied = reply(first)
    assert page.locator(".written").text_content() == replied
    assert message.input_value() == ""
    with page.expect_request("**/v1/chat/completions") as request:
        message.fill("two\nlines")
        message.press("Enter")
    sent = json.loads(request.value.post_data)["messages"]
    second = {"role": "user", "content": "two\nlines"}
    assert sent == [first, {"role": "assistant", "content": replied}, second]
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.locator("[aria-busy]")).to_have_count(0)
    # The system's message, the last answer again, a new conversation
    page.get_by_text("System message").click()
    page.get_by_label("What the model is told before the conversation").fill("be brief")
    with page.expect_request("**/v1/chat/completions") as request:
        page.get_by_role("button", name="Answer again").click()
    sent = json.loads(request.value.post_data)["messages"]
    assert sent[0] == {"role": "system", "content": "be brief"} and sent[-1] == second
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.locator("[aria-busy]")).to_have_count(0)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.get_by_role("button", name="Answer again")).to_be_disabled()


def test_a_reply_goes_on_from_an_alternative(watched: Watched, chat_server: Server) -> None:
    page = visit(watched, chat_server, "Chat")
    set_slider(page, "Temperature", 0)
    set_slider(page, "Most new tokens", 10)
    page.get_by_label("Message", exact=True).fill("say a")
    page.get_by_role("button", name="Send").click()
    wait_till_written(page)
    page.get_by_role("button", name="Tokens view").click()
    page.locator(".token").first.click()
    chosen = page.locator(".alternatives button").nth(1)
    (id_,) = re.findall(r", id (\d+)", chosen.get_attribute("aria-label"))
    with page.expect_request("**/v1/completions") as request:
        chosen.click()
    sent = json.loads(request.value.post_data)["prompt"]
    messages = [{"role": "user", "content": "say a"}]
    prompt = chat_server.post("/page/prompt", {"messages": messages})["ids"]
    assert sent[: len(prompt)] == prompt and len(sent) == len(prompt) + 1 and sent[-1] == int(id_)
    wait_till_written(page)
    expect(page.locator(".token.picked")).to_have_count(1)


def test_a_base_model_says_that_it_does_not_chat(watched: Watched, server: Server) -> None:
    page = visit(watched, server, "Chat")
    expect(page.locator("#base-model")).to_contain_text("trained to continue texts")
    expect(page.locator("#chat-form")).to_be_hidden()
