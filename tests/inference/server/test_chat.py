"""`/v1/chat/completions`: the conversation as the run learned it."""

import json

import pytest

from gptpy.data.chat import Message
from gptpy.inference.conversation import Prompts
from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.server.answers import ChatCompletion

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "The fox?"}]


@pytest.fixture(scope="module")
def direct(chat_run):
    """The output of an engine of its own for a conversation."""
    prompts = Prompts(chat_run)

    def do(messages, **request):
        prompt = prompts.of_messages([Message(m["role"], m["content"]) for m in messages])
        engine = Engine(chat_run.model, chat_run.tokenizer)
        return engine.generate([Request(**prompt.arguments, **request)])[0].outputs

    return do


def ask(server, **body):
    return server.post("/v1/chat/completions", {"messages": HELLO, "seed": 3, **body})


def test_an_answer_is_the_engines(chat_server, direct):
    answer = ask(chat_server, max_tokens=12, n=2, logprobs=True, top_logprobs=2).json()
    ChatCompletion.model_validate(answer)
    expected = direct(HELLO, max_tokens=12, n=2, seed=3, logprobs=2)
    for choice, output in zip(answer["choices"], expected, strict=True):
        message = {"role": "assistant", "content": output.text, "refusal": None}
        assert choice["message"] == message and choice["finish_reason"] == output.finish_reason
        content = choice["logprobs"]["content"]
        assert [one["logprob"] for one in content] == [one.logprob for one in output.logprobs]
        assert [len(one["top_logprobs"]) for one in content] == [2] * len(output.ids)
        assert "id" not in content[0] and "token_ids" not in choice
    with_ids = ask(chat_server, max_tokens=12, logprobs=True, top_logprobs=1, return_token_ids=True)
    choice = with_ids.json()["choices"][0]
    assert choice["token_ids"] == expected[0].ids
    for one, output in zip(choice["logprobs"]["content"], expected[0].logprobs, strict=True):
        assert one["id"] == output.id and one["top_logprobs"][0]["id"] == output.alternatives[0][0]


def test_a_stream_is_the_same_in_parts(chat_server):
    body = {"max_completion_tokens": 15, "n": 2, "logprobs": True, "return_token_ids": True}
    whole = ask(chat_server, **body).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    text = ask(chat_server, **body, **options).text
    *found, done, _ = text.split("\n\n")
    *found, last = [json.loads(one.removeprefix("data: ")) for one in found]
    assert done == "data: [DONE]" and last["choices"] == []
    assert last["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert {event["object"] for event in found} == {"chat.completion.chunk"}
    for choice in whole["choices"]:
        parts = [e["choices"][0] for e in found if e["choices"][0]["index"] == choice["index"]]
        assert parts[0]["delta"] == {"role": "assistant", "content": ""}
        said = "".join(part["delta"].get("content", "") for part in parts)
        assert said == choice["message"]["content"]
        assert parts[-1]["delta"] == {} and parts[-1]["finish_reason"] == choice["finish_reason"]
        told = [one for part in parts if part["logprobs"] for one in part["logprobs"]["content"]]
        assert told == choice["logprobs"]["content"]
        assert [i for part in parts for i in part["token_ids"]] == choice["token_ids"]


def test_the_default_is_what_the_context_holds(chat_server, chat_run):
    usage = ask(chat_server, min_tokens=1, logit_bias={str(chat_run.ends[0]): -100}).json()["usage"]
    assert usage["total_tokens"] == chat_run.config.model.block_size + 1


def test_other_forms_of_messages(chat_server):
    same = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("The ", "fox?")]},
    ]  # fmt: skip
    first = ask(chat_server, max_tokens=5).json()
    second = ask(chat_server, max_tokens=5, messages=same).json()
    assert first["choices"] == second["choices"]
    # As clients send back what they got.
    said = {**first["choices"][0]["message"], "tool_calls": None, "annotations": []}
    turns = [*HELLO, said, {"role": "user", "content": "And?"}]
    assert ask(chat_server, max_tokens=5, messages=turns).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "a", "name": "x"}]}, "messages[0].name"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages[0].content"),
        ({"tools": [{}]}, "tools"),
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
        ({"top_logprobs": 2}, None),
        ({"max_tokens": 1, "max_completion_tokens": 1}, None),
        ({"logprobs": 2}, "logprobs"),
        ({"prompt": "a"}, "prompt"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(chat_server, wrong, param):
    answer = ask(chat_server, **wrong)
    assert answer.status_code == 422 and answer.json()["error"]["param"] == param, answer.text


def test_what_clients_send_without_meaning_it(chat_server):
    fields = {"tools": [], "tool_choice": "auto", "store": False, "metadata": {}, "user": "me"}
    assert ask(chat_server, max_tokens=1, **fields).status_code == 200


def test_a_base_model_says_so(server):
    answer = ask(server)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["code"] == "no_chat_template"
    assert "no chat template" in error["message"]


def test_completions_of_a_chat_model_are_plain_texts(chat_server, chat_run):
    ids = [chat_run.end_of_text, *chat_run.tokenizer.encode_ordinary("The fox")]
    body = {"max_tokens": 8, "seed": 1}
    text = chat_server.post("/v1/completions", {"prompt": "The fox", **body}).json()
    plain = chat_server.post("/v1/completions", {"prompt": ids, **body}).json()
    assert text["choices"] == plain["choices"]
