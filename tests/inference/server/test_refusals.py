"""What is refused, with which status, naming which field, in OpenAI's form."""

import json
import socket

import pytest

from gptpy.config.errors import ConfigError
from gptpy.inference.server.access import host_name
from gptpy.inference.server.errors import ErrorAnswer
from gptpy.inference.server.settings import ServerSettings

from .conftest import serving

JSON = {"Content-Type": "application/json"}
OK = {"prompt": "a", "max_tokens": 1}


def refused(answer, status):
    """The error of an answer with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    return ErrorAnswer.model_validate(answer.json()).error


FIELDS = [
    ({"prompt": None}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": [1, "a"]}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [1.5]}, "prompt"),
    ({"prompt": ["a"] * 129}, "prompt"),
    ({"prompt": [10**20]}, "prompt"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"temperature": -1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_k": 0}, "top_k"),
    ({"min_p": 2}, "min_p"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 1.0}, "seed"),
    ({"logprobs": 21}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a", ""]}, "stop"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": 1}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {}}, ""),
    ({"stream": True, "stream_options": {"include": True}}, "stream_options.include"),
    ({"logit_bias": {"a": 1}}, ""),
    ({"logit_bias": {"-1": 1}}, ""),
    ({"logit_bias": {"01": 1}}, ""),
    ({"logit_bias": {"٣": 1}}, ""),
    ({"logit_bias": {"1": 101}}, "logit_bias.1"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"response_format": {"type": "xml"}}, "response_format"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.json_schema"),
    ({"context": "shift"}, "context"),
    ({"messages": []}, "messages"),
    ({"Prompt": "b"}, "Prompt"),
]


@pytest.mark.parametrize(("wrong", "param"), FIELDS)
def test_wrong_fields_are_named(server, wrong, param):
    error = refused(server.post("/v1/completions", {**OK, **wrong}), 422)
    assert (error.param or "") == param
    assert (param.partition(".")[0] or next(iter(wrong))) in error.message
    assert "Input should" not in error.message and len(error.message) < 500


VALUES = [
    ({"prompt": [320]}, "prompt"),
    ({"logit_bias": {"320": 1}}, "logit_bias"),
    ({"max_tokens": 4097}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"min_tokens": 5}, "min_tokens"),
    ({"n": 128, "prompt": ["a", "b"]}, "texts"),
    ({"n": 128, "max_tokens": 4096, "logprobs": 20}, "max_tokens"),
]


@pytest.mark.parametrize(("wrong", "word"), VALUES)
def test_values_that_do_not_fit_are_refused(server, wrong, word):
    assert word in refused(server.post("/v1/completions", {**OK, **wrong}), 400).message
    assert not server.service._owners and server.service._texts == 0


@pytest.mark.parametrize("field", ["echo", "suffix", "best_of", "store", "prediction"])
def test_fields_of_openai_that_are_not_supported_are_refused_by_name(server, field):
    error = refused(server.post("/v1/completions", {**OK, field: 7}), 422)
    assert error.code == "unsupported_parameter" and error.param == field
    assert "does not support" in error.message
    assert server.post("/v1/completions", {**OK, field: None}).status_code == 200


def test_harmless_values_of_unsupported_fields_are_taken(server):
    harmless = {"echo": False, "best_of": 1, "store": False, "user": "me", "suffix": ""}
    assert server.post("/v1/completions", {**OK, **harmless}).status_code == 200
    assert server.post("/v1/completions", {**OK, "best_of": True}).status_code == 422


def test_a_slip_is_told_what_was_meant(server):
    error = refused(server.post("/v1/completions", {**OK, "max_token": 7}), 422)
    assert error.code == "unknown_parameter" and "did you mean max_tokens?" in error.message


def test_several_problems_are_told_at_once(server):
    error = refused(server.post("/v1/completions", {"n": 0, "top_k": 0, "x": 1, "y": 1}), 422)
    assert "prompt: this field is needed" in error.message and "and 2 more" in error.message


BODIES = [
    (b"", "Expecting value"),
    (b"{", "Expecting"),
    (b"\xff{}", "UTF-8"),
    ('{"prompt": "a"}'.encode("utf-16"), "UTF-8"),
    (b'{"prompt": "a", "prompt": "b"}', "'prompt' stands twice"),
    (b'{"prompt": "a", "response_format": {"type": "text", "type": "text"}}', "stands twice"),
    (b'{"prompt": "a", "temperature": NaN}', "NaN"),
    (b'{"prompt": "a", "temperature": -Infinity}', "-Infinity"),
    (b'{"prompt": "a", "temperature": 1e999}', "too large"),
    (b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", "5000 digits"),
    (b'{"prompt": ' + b"[" * 100 + b"]" * 100 + b"}", "nest deeper"),
    (b"[" * 100_000, "nest deeper"),
    (b'{"prompt": "\\ud800"}', "surrogate"),
    (b'{"\\udfff": "a"}', "surrogate"),
    (b'{"prompt": "a"} {}', "Extra data"),
    (b"{'prompt': 'a'}", "Expecting property name"),
]


@pytest.mark.parametrize(("body", "message"), BODIES, ids=range(len(BODIES)))
def test_json_of_more_than_one_meaning_is_refused(server, body, message):
    error = refused(server.client.post("/v1/completions", content=body, headers=JSON), 400)
    assert message in error.message and error.code == "invalid_json"


@pytest.mark.parametrize("body", [b"5", b'"a"', b"[]", b"null", b"true"])
def test_json_that_is_no_object(server, body):
    refused(server.client.post("/v1/completions", content=body, headers=JSON), 422)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},  # what a page of another site may send without asking
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
def test_other_types_of_bodies_are_refused(server, headers):
    content = json.dumps(OK).encode()
    refused(server.client.post("/v1/completions", content=content, headers=headers), 415)


def test_types_with_parameters_are_taken(server):
    headers = {"Content-Type": "application/json; charset=utf-8"}
    content = json.dumps(OK).encode()
    answer = server.client.post("/v1/completions", content=content, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/completions", 405),
        ("POST", "/health", 405),
        ("GET", "/v1/models/../../etc/passwd", 404),
        ("GET", "/v1/models/%2e%2e%2fetc", 404),
        ("GET", "/docs/", 404),
    ],
)
def test_unknown_paths_have_the_same_form(server, method, path, status):
    answer = server.client.request(method, path)
    if answer.status_code != 307:
        refused(answer, status)


def test_another_model_is_not_found(server):
    error = refused(server.post("/v1/completions", {**OK, "model": "gpt-5"}), 404)
    assert error.code == "model_not_found" and error.param == "model" and "tiny" in error.message
    assert server.post("/v1/completions", {**OK, "model": "tiny"}).status_code == 200


def test_limits_of_bodies_and_prompts(run):
    with serving(run, max_body_bytes=2048, max_prompt_tokens=50, max_new_tokens=5) as server:
        error = refused(server.post("/v1/completions", {"prompt": "a" * 3000}), 413)
        assert "2048" in error.message
        # Without a length the body is counted as it comes.
        parts = iter([b'{"prompt": "', *[b"a" * 500] * 10, b'"}'])
        refused(server.client.post("/v1/completions", content=parts, headers=JSON), 413)
        error = refused(server.post("/v1/completions", {"prompt": [1] * 51}), 413)
        assert "50" in error.message and error.code == "request_too_large"
        refused(server.post("/tokenize", {"text": "Q" * 51}), 413)
        assert server.post("/v1/completions", {"prompt": [1] * 50}).status_code == 200
        error = refused(server.post("/v1/completions", {"prompt": "a", "max_tokens": 6}), 400)
        assert "at most 5" in error.message
        found = server.complete(return_token_ids=True, seed=1)
        assert len(found["token_ids"]) <= 5, "the default is cut to the limit"


def test_a_body_that_does_not_come(run):
    with serving(run, body_seconds=0.2) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as slow:
            slow.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            slow.settimeout(20)
            assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        assert server.complete(max_tokens=1)


def test_the_key(run):
    with serving(run, api_key="s3cret") as server:
        for headers in (
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer s3cre"},
            {"Authorization": "Bearer s3cret2"},
            {"Authorization": "Basic s3cret"},
            {"Authorization": "s3cret"},
            {"Authorization": "Bearer s3cr\u00e9t"},
        ):
            for path in ("/v1/models", "/metrics", "/nothing", "/openapi.json/x", "/static"):
                error = refused(server.client.get(path, headers=headers), 401)
                assert error.code == "invalid_api_key" and "s3cret" not in error.message
            answer = server.client.post("/v1/completions", json=OK, headers=headers)
            assert answer.headers["www-authenticate"] == "Bearer"
            refused(answer, 401)
        right = {"Authorization": "Bearer s3cret"}
        assert server.client.post("/v1/completions", json=OK, headers=right).status_code == 200
        assert server.client.get("/metrics", headers=right).status_code == 200
        for path in ("/health", "/docs", "/openapi.json"):
            assert server.client.get(path).status_code == 200
        api = server.client.get("/openapi.json").json()
        assert api["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_other_sites(run):
    origin = {"Origin": "https://a.example"}
    ask = {**origin, "Access-Control-Request-Method": "POST"}
    with serving(run) as server:
        for answer in (
            server.client.get("/v1/models", headers=origin),
            server.client.options("/v1/completions", headers=ask),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]
    with serving(run, origins=("https://a.example",), api_key="k") as server:
        answer = server.client.options(
            "/v1/completions", headers={**ask, "Access-Control-Request-Headers": "authorization"}
        )
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        answer = server.client.get("/v1/models", headers=origin)
        assert answer.status_code == 401 and "access-control-allow-origin" in answer.headers
        other = server.client.get("/v1/models", headers={"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers


def test_names_of_other_hosts(run):
    """A page whose own name was made to point to this machine sends that name."""
    with serving(run, hosts=("127.0.0.1", "localhost")) as server:
        assert server.client.get("/health").status_code == 200
        for host in ("localhost", "LOCALHOST:80", "127.0.0.1:1"):
            assert server.client.get("/health", headers={"Host": host}).status_code == 200
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.", ""):
            error = refused(server.client.get("/health", headers={"Host": host}), 400)
            assert error.code == "unknown_host"


def test_host_names():
    for host, name in {
        "a.b:80": "a.b", "A": "a", "[::1]:80": "[::1]", "[::1]": "[::1]", "": "", "a:": "a",
        "a:b": "a:b", "::1": "::1",
    }.items():  # fmt: skip
        assert host_name(host) == name, host


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"api_key": ""}, {"api_key": "a\n"}, {"api_key": "é"}, {"max_waiting": -1},
        {"timeout_seconds": 0}, {"grace_seconds": float("nan")}, {"max_body_bytes": 10},
    ],
)  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ServerSettings(**{"name": "a", **wrong})
