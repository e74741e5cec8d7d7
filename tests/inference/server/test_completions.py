"""`/v1/completions` against the engine called directly."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from gptpy.inference.engine import Engine
from gptpy.inference.request import Request, TokenLogprob
from gptpy.inference.sampling import Sampling
from gptpy.inference.server.answers import Completion
from gptpy.inference.server.tokens import CompletionLogprobs

PROMPT = "The quick"


@pytest.fixture(scope="module")
def direct(run):
    """The handle of a request that an engine of its own has done."""

    def do(prompt=PROMPT, **request):
        engine = Engine(run.model, run.tokenizer)
        ids = prompt if isinstance(prompt, list) else run.tokenizer.encode_ordinary(prompt)
        ends = frozenset(run.ends)
        return engine.generate([Request(**{"prompt": ids, "end_ids": ends, **request})])[0]

    return do


def events(answer):
    """The objects of a stream, which must end with [DONE]."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    *found, last, rest = answer.text.split("\n\n")
    assert rest == "" and last == "data: [DONE]"
    return [json.loads(one.removeprefix("data: ")) for one in found]


SETTINGS = {
    "greedy": ({"temperature": 0}, Sampling(temperature=0)),
    "penalties": (
        {"presence_penalty": 0.5, "frequency_penalty": 1.5, "repetition_penalty": 1.3},
        Sampling(presence_penalty=0.5, frequency_penalty=1.5, repetition_penalty=1.3),
    ),
    "filters": (
        {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.95},
        Sampling(temperature=0.7, top_k=50, top_p=0.9, min_p=0.01, typical_p=0.95),
    ),
    "bias": ({"logit_bias": {"5": 100, "17": 99.5}}, Sampling(logit_bias={5: 100, 17: 99.5})),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_reach_the_engine(server, direct, name):
    body, sampling = SETTINGS[name]
    found = server.complete(**body, max_tokens=12, seed=3, return_token_ids=True)
    expected = direct(max_tokens=12, seed=3, sampling=sampling).outputs[0]
    assert found["token_ids"] == expected.ids and found["text"] == expected.text
    assert found["finish_reason"] == expected.finish_reason


def test_defaults_are_openais(server, direct):
    found = server.complete(seed=1, return_token_ids=True)
    assert found["token_ids"] == direct(max_tokens=16, seed=1).outputs[0].ids
    assert "token_ids" not in server.complete(seed=1)


def test_every_form_of_prompt(server, run, direct):
    encode = run.tokenizer.encode_ordinary
    texts = [PROMPT, "日本語"]
    forms = {
        "text": (texts[0], [encode(texts[0])]),
        "texts": (texts, [encode(text) for text in texts]),
        "ids": ([1, 2, 3], [[1, 2, 3]]),
        "lists of ids": ([[1, 2], [7]], [[1, 2], [7]]),
        "empty": ("", [list(run.ends[:1])]),
        "special": ("<|endoftext|>", [encode("<|endoftext|>")]),
    }
    for name, (prompt, prompts) in forms.items():
        body = {"prompt": prompt, "n": 2, "seed": 5, "max_tokens": 6, "return_token_ids": True}
        answer = server.post("/v1/completions", body).json()
        Completion.model_validate(answer)
        expected = [o for ids in prompts for o in direct(ids, n=2, seed=5, max_tokens=6).outputs]
        assert [c["token_ids"] for c in answer["choices"]] == [o.ids for o in expected], name
        assert [c["text"] for c in answer["choices"]] == [o.text for o in expected]
        assert [c["index"] for c in answer["choices"]] == list(range(len(expected)))
        usage = answer["usage"]
        assert usage["prompt_tokens"] == sum(map(len, prompts))
        assert usage["completion_tokens"] == sum(len(o.ids) for o in expected)
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_stream_is_the_same_in_parts(server):
    body = {
        "prompt": [PROMPT, "fox"], "n": 2, "seed": 9, "max_tokens": 20, "logprobs": 2,
        "return_token_ids": True,
    }  # fmt: skip
    whole = server.post("/v1/completions", body).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *found, last = events(server.post("/v1/completions", {**body, **options}))
    assert last["choices"] == []
    # Which blocks are kept depends on the request before.
    for usage in (last["usage"], whole["usage"]):
        del usage["prompt_tokens_details"]
    assert last["usage"] == whole["usage"]
    assert all(event["usage"] is None for event in found)
    assert len({event["id"] for event in [*found, last]}) == 1
    for choice in whole["choices"]:
        parts = [e["choices"][0] for e in found if e["choices"][0]["index"] == choice["index"]]
        assert "".join(part["text"] for part in parts) == choice["text"]
        assert [i for part in parts for i in part["token_ids"]] == choice["token_ids"]
        for name, values in choice["logprobs"].items():
            assert [v for part in parts for v in part["logprobs"][name]] == values
        reasons = [part["finish_reason"] for part in parts]
        assert reasons[-1] == choice["finish_reason"] and set(reasons[:-1]) <= {None}


def test_a_stream_without_options_has_no_usage(server):
    found = events(server.post("/v1/completions", {"prompt": "a", "stream": True}))
    assert all("usage" not in event and event["choices"] for event in found)


def test_logprobs(server, run, direct):
    found = server.complete(max_tokens=9, seed=2, logprobs=3, return_token_ids=True)
    expected = direct(max_tokens=9, seed=2, logprobs=3).outputs[0].logprobs
    told = found["logprobs"]
    assert told["token_logprobs"] == [one.logprob for one in expected]
    assert [[(a["id"], a["logprob"]) for a in one] for one in told["alternatives"]] == [
        one.alternatives for one in expected
    ]
    texts = [run.tokenizer.decode_bytes([one.id]).decode(errors="replace") for one in expected]
    assert told["tokens"] == texts
    for top, alternatives in zip(told["top_logprobs"], told["alternatives"], strict=True):
        assert set(top) == {a["token"] for a in alternatives}
        assert max(top.values()) == alternatives[0]["logprob"]
    zero = server.complete(max_tokens=9, seed=2, logprobs=0)["logprobs"]
    assert zero["token_logprobs"] == told["token_logprobs"] and "alternatives" not in zero
    assert zero["top_logprobs"] == [{}] * 9


def test_offsets_point_into_the_text(run):
    """Also where a character has several tokens: its tokens point at it."""
    text = "naïve 日本 👍 fox"
    ids = run.tokenizer.encode_ordinary(text)
    assert len(ids) > len(text) - 8
    found = [TokenLogprob(token, 0.0, []) for token in ids]
    told = CompletionLogprobs(run.tokenizer, False)
    offsets = [at for one in found for at in told.of([one])["text_offset"]]
    assert offsets == CompletionLogprobs(run.tokenizer, False).of(found)["text_offset"]
    before = [run.tokenizer.decode_bytes(ids[:n]).decode(errors="ignore") for n in range(len(ids))]
    assert offsets == [len(part) for part in before]


def test_stop_strings_and_min_tokens(server):
    text = server.complete(max_tokens=30, seed=6)["text"]
    cut = text[10:12]
    found = server.complete(max_tokens=30, seed=6, stop=cut)
    assert found["text"] == text[: text.index(cut)] and found["finish_reason"] == "stop"
    assert server.complete(max_tokens=30, seed=6, stop=[cut, "never"]) == found
    later = server.complete(max_tokens=30, seed=6, stop=cut, min_tokens=30)
    assert later["text"] == text and later["finish_reason"] == "length"


def test_an_end_token_counts_and_is_no_text(server, run):
    end = run.ends[0]
    found = server.complete(logit_bias={str(end): 100}, return_token_ids=True, logprobs=0)
    assert found["text"] == "" and found["finish_reason"] == "stop"
    assert found["token_ids"] == [end] and found["logprobs"]["tokens"] == ["<|endoftext|>"]
    longer = server.complete(logit_bias={str(end): 100}, min_tokens=3, max_tokens=3)
    assert longer["finish_reason"] == "length" and longer["text"]


SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "n": {"type": "integer", "maximum": 99}},
    "required": ["colour", "n"],
    "additionalProperties": False,
}


def test_text_that_matches_a_schema(server):
    pytest.importorskip("llguidance")
    named = {"name": "it", "schema": SCHEMA, "strict": True}
    wanted = {"type": "json_schema", "json_schema": named}
    for seed in range(3):
        found = server.complete(response_format=wanted, max_tokens=200, seed=seed, top_k=5)
        if found["finish_reason"] == "stop":
            value = json.loads(found["text"])
            assert value["colour"] in ("red", "blue") and value["n"] <= 99
    free = server.complete(response_format={"type": "text"}, seed=1)
    assert free == server.complete(seed=1)
    braces = server.complete(response_format={"type": "json_object"}, seed=1, max_tokens=40)
    assert braces["text"].lstrip().startswith("{")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "https://example.org/schema.json"},
        {"not": {"type": "string"}},
        {"type": "string", "pattern": "(?=a)"},
    ],
)
def test_schemas_that_cannot_be_followed_are_refused(server, schema):
    pytest.importorskip("llguidance")
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    answer = server.post("/v1/completions", {"prompt": "a", "response_format": wanted})
    assert answer.status_code == 400 and "json_schema" in answer.json()["error"]["message"]


def test_prompts_beyond_the_context(server):
    body = {"prompt": [1] * 65, "max_tokens": 4}
    error = server.post("/v1/completions", body).json()["error"]
    assert error["code"] == "context_length_exceeded" and "65" in error["message"]
    cropped = server.post("/v1/completions", {**body, "context": "crop", "seed": 1}).json()
    assert cropped["usage"]["prompt_tokens"] == 65
    longer = server.complete(max_tokens=100, seed=1, min_tokens=100, return_token_ids=True)
    assert len(longer["token_ids"]) == 100
    refused = server.post("/v1/completions", {"prompt": "a", "max_tokens": 100, "context": "error"})
    assert refused.status_code == 400 and "context" in refused.json()["error"]["message"]


def test_many_at_once_are_as_alone(server):
    """Mixed lengths and settings, from many threads over kept connections."""
    bodies = [
        {
            "prompt": [1 + k % 50] * (1 + 7 * k % 50), "max_tokens": 1 + k % 23, "seed": k,
            "temperature": [0, 0.8, 1.3][k % 3], "logprobs": k % 4, "n": 1 + k % 2,
        }
        for k in range(24)
    ]  # fmt: skip

    def ask(body):
        return server.post("/v1/completions", body).json()["choices"]

    alone = [ask(body) for body in bodies]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, bodies)) == alone
