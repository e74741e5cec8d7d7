"""The page's files and its own paths. What it does in a browser: tests/clients/page/."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from gptpy.inference import glance
from gptpy.inference.attention import MOST_TOKENS
from gptpy.inference.glance import Glance
from gptpy.inference.server.page import FOLDER, MOST_CHARACTERS, MOST_WAITING, TYPES
from gptpy.model.maps import attention_maps
from gptpy.runs.metrics import MetricsLog
from gptpy.runs.opening import Loaded, load

from .conftest import Running, make_run, serving

FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in TYPES)


# ---- Files


@pytest.mark.parametrize("path", ["/", *(f"/static/{name}" for name in FILES)])
def test_a_file_of_the_page(server: Running, path: str) -> None:
    name = path.rpartition("/")[2] or "index.html"
    found = server.client.get(path)
    assert found.status_code == 200 and found.content == (FOLDER / name).read_bytes()
    assert found.headers["content-type"] == TYPES[Path(name).suffix]
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cache-control"] == "no-cache"
    policy = found.headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["script-src"] == "'self'"
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    # The browser asks again with what it has, and is told that nothing changed
    again = server.client.get(path, headers={"If-None-Match": f'"x", {found.headers["etag"]}'})
    assert again.status_code == 304 and not again.content
    assert server.client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_the_page_loads_nothing_from_elsewhere_and_has_no_code_in_its_markup() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        hosts = set(re.findall(r"https?://[\w.]+", text))
        assert hosts <= {"http://www.w3.org"}, name  # the name of SVG's namespace
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{name}: {word}"
        assert len(text.splitlines()) <= 400
    index = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\son\w+=|style=|<style|javascript:", index)
    assert re.findall(r"<script[^>]*>", index) == ['<script type="module" src="/static/main.js">']


def test_every_module_is_imported_and_every_import_is_there() -> None:
    wanted = {"main.js"}
    for name in FILES:
        if name.endswith(".js"):
            text = (FOLDER / name).read_text(encoding="utf-8")
            wanted |= set(re.findall(r'from "\./([\w.]+)"', text))
    assert wanted == {name for name in FILES if name.endswith(".js")}


@pytest.mark.parametrize(
    "path",
    [
        "/static/", "/static/..", "/static/../server/page.py", "/static/%2e%2e/server/page.py",
        "/static/..%2fserver%2fpage.py", "/static//etc/passwd", "/static/INDEX.HTML",
        "/static/main.js/", "/static/main.js%00", "/static/.hidden", "/page/", "/page/main.js",
    ],
)  # fmt: skip
def test_no_other_file_is_served(server: Running, path: str) -> None:
    host = ("127.0.0.1", server.port)
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection(*host)
        writer.write(request.encode())
        answer = await reader.read()
        writer.close()
        return answer

    status = int(asyncio.run(ask()).split(b" ")[1])  # a client library would tidy the path
    assert status in (307, 404)


def test_the_page_is_in_the_wheel(tmp_path: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` tells where it is
    root = FOLDER.parent.parent.parent
    if uv is None or not (root / "pyproject.toml").is_file():
        pytest.skip("builds a wheel: needs uv and the sources")
    command = [uv, "build", "--wheel", "--offline", "--package", "gptpy-lm", "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("the build's requirements are not in uv's cache")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in FILES if f"gptpy/inference/page/{name}" not in names] == []


# ---- The run at a glance


@pytest.fixture
def told(tmp_path: Path) -> Loaded:
    """A run of whose training there is something to tell."""
    return load(make_run(tmp_path / "told"), device="cpu", dtype="float32")


def test_the_run_at_a_glance(server: Running) -> None:
    found = server.client.get("/page/run")
    assert found.headers["cache-control"] == "no-store"
    facts = found.json()
    loaded = server.service.loaded
    assert facts["name"] == "tiny" and facts["step"] == 0 and facts["chat"] is False
    assert facts["parameters"] == loaded.model.num_parameters()
    assert facts["model"] == loaded.config.model.to_dict()
    empty = {"training": [], "validation": [], "not_finite": 0, "bits_per_nat": None}
    assert facts["curve"] == empty
    assert facts["samples"] == {"text": "", "cut": 0} and facts["summary"] == {}
    assert {"run", "gpt2", "cl100k_base", "o200k_base"} <= set(facts["encodings"])
    shape = {"kinds": ["self"], "layers": 2, "encoder_layers": 2, "most_tokens": MOST_TOKENS}
    assert facts["attention"] == shape


def test_the_loss_curve_is_what_the_metrics_say(told: Loaded) -> None:
    log = MetricsLog(told.folder)
    losses = [5 - i / 400 + (i % 7) / 10 for i in range(1000)]
    for step, loss in enumerate(losses, 1):
        log.write("step", {"step": step, "loss": loss})
    log.write("step", {"step": 1001, "loss": float("nan")})
    log.write("eval", {"step": 500, "val_loss": 4.0, "stride": 64})
    log.write("eval", {"step": 1000, "val_loss": 3.5, "stride": 16})
    log.write("eval", {"step": 1000, "val_loss": 3.0})
    log.write("message", {"text": "hello"})
    with (told.folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "step": "x", "loss": 1}\n{"kind": "step"}\n[1]\n{"kind"\n')
    about = Glance(told, "x", chats=False)
    curve = about.facts()["curve"]
    assert curve["not_finite"] == 1
    assert curve["validation"] == [(500, 4.0, 64), (1000, 3.5, 16), (1000, 3.0, None)]
    points = curve["training"]
    assert len(points) == glance.MOST_POINTS and points[-1][0] == 1000
    first = 0
    for last, mean, low, high in points:  # the points part the rows
        part = losses[first:last]
        assert abs(mean - sum(part) / len(part)) < 1e-4
        assert abs(low - min(part)) < 1e-6 and abs(high - max(part)) < 1e-6
        first = last
    assert about.curve() is curve, "read once"
    log.write("eval", {"step": 1100, "val_loss": 2.0})
    assert len(about.curve()["validation"]) == 4, "and again when it grew"


def test_few_steps_are_all_points(told: Loaded) -> None:
    log = MetricsLog(told.folder)
    for step in range(1, 4):
        log.write("step", {"step": step, "loss": 1.0 / step})
    curve = Glance(told, "x", chats=False).curve()
    assert [point[0] for point in curve["training"]] == [1, 2, 3]
    assert all(mean == pytest.approx(low, abs=1e-5) for _, mean, low, _ in curve["training"])


def test_long_samples_are_cut_at_a_line(told: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    path = told.folder / "samples.txt"
    about = Glance(told, "x", chats=False)
    path.write_text("ä\nsecond\n", encoding="utf-8")
    assert about.facts()["samples"] == {"text": "ä\nsecond\n", "cut": 0}
    monkeypatch.setattr(glance, "MOST_SAMPLE_BYTES", 9)
    assert about.facts()["samples"] == {"text": "second\n", "cut": 3}
    path.write_text("ä" * 10, encoding="utf-8")  # one line: cut inside a character
    assert about.facts()["samples"] == {"text": "�" + "ä" * 4, "cut": 11}
    path.write_bytes(b"\xff\x00")
    assert about.facts()["samples"]["text"] == "�\x00"


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": NaN, "b": [1], "c": {}, "val_loss": 1.5}'])
def test_a_damaged_summary_tells_nothing_wrong(told: Loaded, text: str) -> None:
    (told.folder / "summary.json").write_text(text)
    found = Glance(told, "x", chats=False).facts()["summary"]
    assert found == ({"val_loss": 1.5} if "val_loss" in text else {})
    json.dumps(found, allow_nan=False)


# ---- Attention


def test_attention_is_the_models(server: Running) -> None:
    loaded = server.service.loaded
    text = "The quick brown fox, naïve"
    ids = loaded.tokenizer.encode_ordinary(text)
    maps = attention_maps(loaded.model, torch.tensor([ids]))["self"]
    for layer in range(2):
        answer = server.post("/page/attention", {"text": text, "layer": layer})
        assert answer.headers["cache-control"] == "no-store"
        found = answer.json()
        assert [token["id"] for token in found["tokens"]] == ids
        assert found["tokens"] == found["looked_at"] and found["left_out"] == 0
        torch.testing.assert_close(torch.tensor(found["weights"]), maps[layer], atol=5.1e-5, rtol=0)
    backend = loaded.model.attention_backend
    assert backend != "reference", "the model is as it was"


def test_attention_of_a_long_text_is_bounded(server: Running) -> None:
    found = server.post("/page/attention", {"text": "fox " * 1000}).json()
    assert len(found["tokens"]) == MOST_TOKENS
    total = len(server.service.loaded.tokenizer.encode_ordinary("fox " * 1000))
    assert found["left_out"] == total - MOST_TOKENS


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "text: this field is needed"),
        ({"text": ""}, 422, "text"),
        ({"text": "x" * (MOST_CHARACTERS + 1)}, 422, "text"),
        ({"text": 3}, 422, "text"),
        ({"text": "x", "layer": -1}, 422, "layer"),
        ({"text": "x", "layer": 2}, 400, "layer: expected 0 to 1, got 2"),
        ({"text": "x", "layer": 1.5}, 422, "layer"),
        ({"text": "x", "kind": "cross"}, 400, "kind: expected one of self, got 'cross'"),
        ({"text": "x", "path": "/etc/passwd"}, 422, "path: there is no such field"),
        ({"text": "\ud800"}, 400, "surrogate"),
    ],
)
def test_attention_refuses(server: Running, body: Any, status: int, words: str) -> None:
    # Strict libraries do not send half a surrogate pair; an escape does
    answer = server.client.post(
        "/page/attention",
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == status and words in answer.json()["error"]["message"]


@pytest.mark.parametrize("architecture", ["encoder-decoder", "bigram"])
def test_attention_of_other_models(tmp_path: Path, architecture: str) -> None:
    form = "pairs" if architecture == "encoder-decoder" else "stream"
    shape = {"n_layer": 0} if architecture == "bigram" else {"n_encoder_layer": 3}
    more = {"vocab_size": 330} if form == "pairs" else {}  # room for an end-of-text
    loaded = load(
        make_run(tmp_path / "run", form, architecture=architecture, **shape, **more),
        device="cpu",
        dtype="float32",
    )
    with serving(loaded) as running:
        kinds = running.client.get("/page/run").json()["attention"]["kinds"]
        text = "The lazy dog"
        if architecture == "bigram":
            assert kinds == []
            answer = running.post("/page/attention", {"text": text})
            assert answer.status_code == 400 and "no attention" in answer.text
            return
        assert kinds == ["cross", "self", "encoder"]
        read = [*loaded.tokenizer.encode_ordinary(text), loaded.end_of_text]
        for kind, layer in (("cross", 1), ("self", 0), ("encoder", 2)):
            found = running.post("/page/attention", {"text": text, "kind": kind, "layer": layer})
            found = found.json()
            rows, columns = len(found["tokens"]), len(found["looked_at"])
            weights = torch.tensor(found["weights"])
            assert weights.shape == (2, rows, columns)
            torch.testing.assert_close(weights.sum(-1), torch.ones(2, rows), atol=1e-2, rtol=0)
            if kind != "self":
                assert [token["id"] for token in found["looked_at"]] == read
        long = running.post("/page/attention", {"text": "dog " * 500, "kind": "encoder"}).json()
        assert len(long["tokens"]) == MOST_TOKENS and long["left_out"] > 0
        assert long["tokens"][-1]["id"] == loaded.end_of_text
        answer = running.post("/page/prompt", {"text": text})
        assert answer.status_code == 400


def test_too_many_ask_for_attention(server: Running) -> None:
    """Each delays the next token of every text, so that few may wait."""

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            one = {"text": "The quick brown fox " * 20}
            return await asyncio.gather(
                *(client.post("/page/attention", json=one) for _ in range(60))
            )

    answers = asyncio.run(ask())
    counts = [answer.status_code for answer in answers]
    assert set(counts) <= {200, 429} and counts.count(200) >= MOST_WAITING
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and all(answer.headers["retry-after"] == "1" for answer in refused)
    assert server.post("/page/attention", {"text": "a"}).status_code == 200, "and then it goes on"


# ---- Prompts


def test_a_text_goes_on_behind_its_ids_as_behind_itself(server: Running) -> None:
    ids = server.post("/page/prompt", {"text": "The quick"}).json()["ids"]
    body = {"max_tokens": 8, "temperature": 0}
    assert server.complete(**body) == server.complete(**body, prompt=ids)


def test_a_conversation_goes_on_behind_its_ids(chat_server: Running) -> None:
    messages = [{"role": "system", "content": "be"}, {"role": "user", "content": "dog"}]
    ids = chat_server.post("/page/prompt", {"messages": messages}).json()["ids"]
    body = {"max_tokens": 8, "temperature": 0}
    answer = chat_server.post("/v1/chat/completions", {**body, "messages": messages}).json()
    text = answer["choices"][0]["message"]["content"]
    assert chat_server.complete(**body, prompt=ids)["text"] == text
    assert chat_server.client.get("/page/run").json()["chat"] is True


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"text": "a", "messages": [{"role": "user", "content": "b"}]}, 400),
        ({"messages": []}, 422),
        ({"messages": [{"role": "pirate", "content": "b"}]}, 422),
        ({"messages": [{"role": "user", "content": "b"}]}, 400),  # a base model
        ({"text": None}, 400),
    ],
)
def test_prompts_are_refused(server: Running, body: Any, status: int) -> None:
    assert server.post("/page/prompt", body).status_code == status


def test_a_prompt_is_not_told_at_any_length(run: Loaded) -> None:
    with serving(run, max_prompt_tokens=10) as running:
        assert running.post("/page/prompt", {"text": "fox"}).status_code == 200
        answer = running.post("/page/prompt", {"text": "fox " * 50})
        assert answer.status_code == 413 and "at most 10 tokens" in answer.text


# ---- The key


@pytest.fixture(scope="module")
def closed(run: Loaded) -> Iterator[Running]:
    with serving(run, api_key="secret") as running:
        yield running


def test_the_files_are_open_and_the_run_is_not(closed: Running) -> None:
    for path in ("/", *(f"/static/{name}" for name in FILES)):
        assert closed.client.get(path).status_code == 200
    key = {"Authorization": "Bearer secret"}
    assert closed.client.get("/page/run").status_code == 401
    assert closed.client.get("/page/run", headers=key).status_code == 200
    for path in ("/page/attention", "/page/prompt"):
        assert closed.post(path, {"text": "a"}).status_code == 401
        assert closed.post(path, {"text": "a"}, headers=key).status_code == 200


def test_the_description_names_the_pages_paths(server: Running) -> None:
    api = server.client.get("/openapi.json").json()
    assert {"/page/run", "/page/attention", "/page/prompt"} <= api["paths"].keys()
    assert "/" not in api["paths"]
    for name in ("AttentionRequest", "PromptRequest", "RunAnswer", "AttentionAnswer"):
        assert name in api["components"]["schemas"]
