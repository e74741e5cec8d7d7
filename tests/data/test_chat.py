"""Conversations as training rows: replies are learned, prompts are not."""

import pytest

from gptpy.config.data import TemplateConfig
from gptpy.data import DataError
from gptpy.data.chat import (
    Message,
    chat_row,
    conversation_of,
    jinja_template,
    request_segments,
    segment_ids,
)
from gptpy.data.dataset import IGNORE
from gptpy.tokenizer import open_tokenizer

TALK = [
    Message("system", "Be short."),
    Message("user", "Two colours?"),
    Message("assistant", "red, blue"),
    Message("user", "One more <|endoftext|>"),
    Message("assistant", "green"),
]


def test_masked_targets_are_exactly_the_prompts():
    tokenizer = open_tokenizer("gpt2")
    end = 50256
    row = chat_row(TALK, tokenizer, TemplateConfig(), end)
    scored = row.targets != IGNORE
    assert tokenizer.decode(row.targets[scored].tolist()) == (
        "red, blue<|endoftext|>green<|endoftext|>"
    )
    # everything else, in order, is what the template writes around the replies
    following = [*row.inputs[1:].tolist(), end]
    assert all(t == f for t, f, s in zip(row.targets, following, scored, strict=True) if s)
    hidden = [i for i, s in zip(following, scored, strict=True) if not s]
    assert tokenizer.decode(hidden) == (
        "Be short.\n\nUser:\nTwo colours?\n\nAssistant:\nUser:\nOne more <|endoftext|>\n\n"
        "Assistant:\n"
    )
    assert hidden.count(end) == 0, "what a user writes is never the token that ends a text"
    # generation begins with the very ids that training put before the last reply
    asked = segment_ids(request_segments(TALK[:-1], TemplateConfig()), tokenizer, end)
    assert row.inputs.tolist()[: len(asked)] == asked


@pytest.mark.parametrize(
    ("row", "roles"),
    [
        ({"prompt": "a", "response": "b"}, "user assistant"),
        ({"prompt": "a", "completion": "b"}, "user assistant"),
        ({"instruction": "a", "input": "x", "output": "b"}, "user assistant"),
        ({"messages": [{"role": m.role, "content": m.content} for m in TALK]}, None),
    ],
)
def test_known_forms(row, roles):
    found = conversation_of(row, "here")
    assert (found == TALK) if roles is None else ([m.role for m in found] == roles.split())
    if "input" in row:
        assert found[0].content == "a\n\nx"


SHAREGPT = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
PARTS = [{"type": "text", "text": "Be "}, "short", {"type": "text", "text": "."}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (SHAREGPT, [("user", "a"), ("assistant", "b")]),
        ({**SHAREGPT, "system": "s"}, [("system", "s"), ("user", "a"), ("assistant", "b")]),
        (
            {
                "conversations": [
                    {"role": "User", "content": "a"},
                    {"role": "model", "content": "b"},
                ]
            },
            [("user", "a"), ("assistant", "b")],
        ),
        (
            {
                "messages": [
                    {"role": "developer", "content": PARTS},
                    {"role": "user", "content": [{"type": "text", "text": "a"}]},
                    {"role": "assistant", "content": "b"},
                ]
            },
            [("system", "Be short."), ("user", "a"), ("assistant", "b")],
        ),
        (
            {
                "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}],
                "completion": [{"role": "assistant", "content": "b"}],
            },
            [("system", "s"), ("user", "a"), ("assistant", "b")],
        ),
    ],
)
def test_forms_of_other_programs(row, expected):
    found = conversation_of(row, "here")
    assert [(message.role, message.content) for message in found] == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a"}, r"here: expected messages.*found keys \['prompt'\]"),
        ([1], "found a list"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "role must be"),
        ({"messages": [{"role": "user", "content": "a"}]}, "no reply"),
        ({"messages": [{"role": "user", "content": 1}]}, "expected messages"),
        ({"messages": []}, "expected messages"),
        ({"messages": None}, r"expected messages \(a list\) under 'messages', found null"),
        ({"messages": ["hi"]}, "message 1: expected messages of role and content.*found a text"),
        ({"messages": [{"role": "user", "content": None}]}, "message 1, content must be.*null"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "got 'tool'"),
        ({"messages": [{"role": 3, "content": "a"}]}, "got 3"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": 1}]}]},
            "message 1, content: expected parts of type 'text', found a part of type 'image_url'",
        ),
        ({"prompt": "a", "response": None}, "response must be a text, found null"),
        ({"instruction": "a", "output": 3}, "output must be a text, found a number"),
        ({"instruction": ["a"], "output": 3}, "output must be a text, found a number"),
        ({"source": "a", "target": "b"}, r"found keys \['source', 'target'\]"),
    ],
)
def test_what_is_no_conversation(row, message):
    with pytest.raises(DataError, match=message):
        conversation_of(row, "here")


def test_transformers_writes_the_same_conversation():
    from transformers.utils.chat_template_utils import render_jinja_template

    template = TemplateConfig(user="It's {content}\\n\n", assistant="A:\n{content}\n")
    end = "<|endoftext|>"
    jinja = jinja_template(template, end)
    talk = [{"role": m.role, "content": m.content} for m in TALK if "<|" not in m.content]
    ours = [Message(m["role"], m["content"]) for m in talk]
    tokenizer = open_tokenizer("gpt2")
    for asked in (False, True):
        rendered, _ = render_jinja_template(
            [talk], chat_template=jinja, add_generation_prompt=asked
        )
        if asked:
            ids = segment_ids(request_segments(ours, template), tokenizer, 50256)
        else:
            row = chat_row(ours, tokenizer, template, 50256)
            ids = [*row.inputs.tolist(), 198]  # the last id is only a target
        assert rendered[0] == tokenizer.decode(ids)
