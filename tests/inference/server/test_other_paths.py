"""Tokens, models, health, metrics, the OpenAPI page."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gptpy.tokenizer import open_tokenizer


def test_tokens(server, run):
    text = "naïve 日本 <|endoftext|>"
    found = server.post("/tokenize", {"text": text}).json()
    assert found["ids"] == run.tokenizer.encode_ordinary(text)
    assert found["count"] == len(found["ids"]) == len(found["tokens"])
    assert run.ends[0] not in found["ids"], "special tokens in a text are text"
    assert server.post("/detokenize", {"ids": found["ids"]}).json() == {"text": text}
    gpt2 = server.post("/tokenize", {"text": text, "encoding": "gpt2"}).json()
    assert gpt2["ids"] == open_tokenizer("gpt2").encode_ordinary(text)
    back = server.post("/detokenize", {"ids": gpt2["ids"], "encoding": "gpt2"}).json()
    assert back["text"] == text
    assert server.post("/tokenize", {"text": "", "encoding": "run"}).json()["count"] == 0
    long = server.post("/tokenize", {"text": text * 400}).json()  # in another thread
    assert server.post("/detokenize", {"ids": long["ids"]}).json()["text"] == text * 400


@pytest.mark.parametrize("name", ["/etc/passwd", "../tokenizer.json", ".", "gpt-2", ""])
def test_a_name_is_never_a_path(server, name):
    answer = server.post("/tokenize", {"text": "a", "encoding": name})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "encoding"


def test_ids_that_are_none(server):
    answer = server.post("/detokenize", {"ids": [320]})
    assert answer.status_code == 400 and "320" in answer.json()["error"]["message"]
    for ids in ([-1], ["a"], [2**40], None, [1.5]):
        assert server.post("/detokenize", {"ids": ids}).status_code == 422


def test_models_and_health(server):
    [model] = server.client.get("/v1/models").json()["data"]
    assert model["id"] == "tiny" and model["object"] == "model" and model["max_model_len"] == 64
    assert server.client.get("/v1/models/tiny").json() == model
    assert server.client.get("/v1/models/other").status_code == 404
    assert server.client.get("/health").json() == {"status": "ok", "model": "tiny"}


def counts(server):
    text = server.client.get("/metrics").text
    return {
        sample.name + "".join(f"[{v}]" for k, v in sample.labels.items() if k != "le"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def test_metrics_count(server):
    before = counts(server)
    body = {"prompt": [1, 2, 3], "max_tokens": 4, "n": 2, "seed": 1}
    usage = server.post("/v1/completions", body).json()["usage"]
    after = counts(server)

    def more(name):
        return after[f"gptpy_{name}"] - before.get(f"gptpy_{name}", 0)

    assert more("prompt_tokens_total") == usage["prompt_tokens"] == 3
    assert more("generated_tokens_total") == usage["completion_tokens"]
    assert more("time_to_first_token_seconds_count") == 1
    assert more("time_per_output_token_seconds_count") == 2
    assert more("texts_finished_total[length]") + more("texts_finished_total[stop]") == 2
    for name in ("requests", "texts_running", "texts_waiting", "cache_use_ratio"):
        assert after[f"gptpy_{name}"] == 0, name
    assert after["process_resident_memory_bytes"] > 0


def test_the_openapi_page(server):
    api = server.client.get("/openapi.json").json()
    bodies = set()
    for path in ("/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"):
        about = api["paths"][path]["post"]
        reference = about["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        bodies.add(reference.rpartition("/")[2])
        assert {"200", "400", "401", "413", "422"} <= set(about["responses"])
    # Every reference leads somewhere.
    for name in set(
        re.findall(r'"#/components/schemas/([^"]+)"', server.client.get("/openapi.json").text)
    ):
        assert name in api["components"]["schemas"], name
    for name in bodies:
        assert api["components"]["schemas"][name]["additionalProperties"] is False
    page = server.client.get("/docs").text
    for field in api["components"]["schemas"]["ChatRequest"]["properties"]:
        assert f"<code>{field}</code>" in page
    assert not re.search(r"<script|src=|https?://(?!HOST)", page), "nothing is loaded"
