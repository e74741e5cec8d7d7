"""The page of `gptpy serve` in a real browser, against a real server with a small trained model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .browsing import (
    Server,
    check,
    find_chromium,
    nameless,
    reachable,
    serving,
    train_base,
    train_chat,
)

pytestmark = pytest.mark.clients
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=15_000)

TABS = ["Continue", "Chat", "Tokenizer", "Run", "Attention"]
INJECTION = "<img src=x onerror=\"document.title='taken over'\"><script>1</script>"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on plain text, whose name and samples are hostile."""
    run = tmp_path_factory.mktemp("runs") / "<img src=x onerror=alert(1)>"
    train_base(run)
    with (run / "samples.txt").open("a", encoding="utf-8") as file:
        file.write(f"\n{INJECTION}\n")
    return run


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Server]:
    with serving(base) as found:
        yield found


@pytest.fixture(scope="module")
def slow_server(base: Path) -> Iterator[Server]:
    """One that takes a twentieth of a second for each token."""
    with serving(base, step_seconds=0.05) as found:
        yield found


@pytest.fixture(scope="module")
def chat_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(train_chat(tmp_path_factory.mktemp("runs") / "chat")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium here: install the distribution's package chromium")
    with playwright.sync_playwright() as tools:
        # Containers run as root and have a small /dev/shm
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        found = tools.chromium.launch(executable_path=chromium, args=arguments)
        yield found
        found.close()


class Watched:
    """A page whose console and requests are watched."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda m: m.type in ("error", "warning") and self.errors.append(m.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    """A new page. At the end: nothing on the console, no word with any other server."""
    size = {"width": 1280, "height": 900}
    context = browser.new_context(viewport=size, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    found = Watched(context.new_page())
    yield found
    context.close()
    assert found.errors == []
    assert len(found.hosts) <= 1, found.hosts


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


SENT = [
    ("Temperature", 0, "temperature", 0),
    ("Top-k", 5, "top_k", 5),
    ("Top-p", 0.5, "top_p", 0.5),
    ("Min-p", 0.1, "min_p", 0.1),
    ("Repetition penalty", 1.3, "repetition_penalty", 1.3),
    ("Presence penalty", -1.5, "presence_penalty", -1.5),
    ("Frequency penalty", 1, "frequency_penalty", 1),
    ("Most new tokens", 3, "max_tokens", 3),
    ("Temperature", 99, "temperature", 2),
    ("Most new tokens", "", "max_tokens", 128),
]
NEUTRAL = {
    "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
}  # fmt: skip


def test_a_setting_is_sent_and_off_is_not(watched: Watched, server: Server) -> None:
    page = visit(watched, server)
    set_slider(page, "Most new tokens", 2)
    for label, value, field, sent in SENT:
        if value == "":
            set_slider(page, label, sent)
        set_slider(page, label, value)
        assert page.get_by_label(label, exact=True).input_value() == str(sent), label
        with page.expect_request("**/v1/completions") as request:
            complete(page, "a")
        body = json.loads(request.value.post_data)
        assert body[field] == sent
        assert NEUTRAL & body.keys() <= {field} and "seed" not in body
        wait_till_written(page)
        page.get_by_role("button", name="Back to the defaults").click()
        if field != "max_tokens":
            set_slider(page, "Most new tokens", 2)
    for typed, seed in (("12", 12), ("-3", 0), ("1.6", 2), ("9e99", 2**53 - 1)):
        page.get_by_label("Seed").fill(typed)
        with page.expect_request("**/v1/completions") as request:
            complete(page, "a")
        assert json.loads(request.value.post_data)["seed"] == seed
        wait_till_written(page)


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
    wait_till_written(page)
    assert page.locator(".token").count() >= 2


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
    assert nameless(page) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert check(page, "unreadable") == [], scheme
    wanted, found = reachable(page)
    assert found == wanted
    for width in (360, 700, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(50)
        assert check(page, "overflowing") == [], width


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
