"""Text that must match: every text of a network that knows nothing does."""

import json
import re

import pytest

from gptpy.config.errors import ConfigError
from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.sampling import Sampling
from gptpy.inference.speculative import PromptLookup
from gptpy.tokenizer import make_tokenizer

from .networks import Bytes, check_idle, network

pytest.importorskip("llguidance")
from gptpy.inference.constraints import Constraints

END = 256


@pytest.fixture(scope="module")
def model():
    return network(vocab_size=260)  # two ids more than the tokenizer and its end have


@pytest.fixture(scope="module")
def constraints():
    return Constraints(Bytes(), 260, END)


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"enum": ["ann", "bob"]},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def texts(model, constraint, count=6, **settings):
    engine = Engine(model, Bytes(), **settings)
    request = Request([1], 200, n=count, seed=0, constraint=constraint)
    [handle] = engine.generate([request])
    check_idle(engine)
    return handle.outputs


def test_a_regular_expression(model, constraints):
    pattern = "[a-c]{2,4}-(foo|é)+"
    found = texts(model, constraints.compile("regex", pattern))
    assert all(re.fullmatch(pattern, o.text) for o in found)
    assert {o.finish_reason for o in found} == {"stop"} and len({o.text for o in found}) > 1


def test_a_schema_given_as_an_object_or_as_text(model, constraints):
    for schema in (SCHEMA, json.dumps(SCHEMA)):
        for output in texts(model, constraints.compile("json_schema", schema), 3):
            value = json.loads(output.text)
            assert value["name"] in ("ann", "bob") and 0 <= value["age"] <= 99


def test_a_grammar(model, constraints):
    grammar = constraints.compile("grammar", 'start: "a" start "b" | "x"')
    for output in texts(model, grammar):
        if output.finish_reason == "stop":
            assert re.fullmatch("a*xb*", output.text)
            assert output.text.count("a") == output.text.count("b")


def test_guesses_and_constraints_go_together(model, constraints):
    constraint = constraints.compile("regex", "(abc|abd){9}")
    plain = [o.ids for o in texts(model, constraint)]
    assert [o.ids for o in texts(model, constraint, speculation=PromptLookup(4))] == plain


def test_a_ban_that_leaves_nothing_is_an_error(model, constraints):
    request = Request(
        [1],
        9,
        constraint=constraints.compile("regex", "a+"),
        sampling=Sampling(banned=frozenset({97})),
    )
    [handle] = Engine(model, Bytes()).generate([request])
    assert handle.outputs[0].error == "no token is left to choose"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("regex", "[a-"),
        ("regex", "(?=a)b"),
        ("json_schema", '{"type": "object"'),
        ("json_schema", {"type": "objec"}),
        ("json_schema", {"type": "string", "not": {"type": "string"}}),
        ("grammar", "start: missing"),
        ("yaml", "a"),
    ],
)
def test_what_the_library_does_not_take_is_refused(constraints, kind, value):
    with pytest.raises(ConfigError, match="expected json_schema" if kind == "yaml" else kind):
        constraints.compile(kind, value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("json_schema", {"$ref": "#"}), ("regex", r"[^\s\S]"), ("grammar", 'start: start "a"')],
)
def test_what_no_text_matches_is_refused(constraints, kind, value):
    with pytest.raises(ConfigError, match="no text matches"):
        constraints.compile(kind, value)


def test_where_nothing_can_follow_the_text_does_not_end_as_if_it_matched(model, constraints):
    """The library then allows the end token, although the text is not complete."""

    class Stuck:
        def start(self):
            matcher = constraints.compile("regex", "ab").start()
            matcher._matcher = Broken(matcher._matcher)
            return matcher

        end_id = END

    class Broken:
        def __init__(self, inner):
            self.inner, self.steps = inner, 0

        def is_error(self):
            return self.steps > 1

        def compute_bitmask(self):
            self.steps += 1
            return self.inner.compute_bitmask()

        def __getattr__(self, name):
            return getattr(self.inner, name)

    [output] = texts(model, Stuck(), 1)
    assert (output.finish_reason, output.text) == ("error", "a")
    assert "no token is left" in str(output.error)


def test_tokenizers_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="end-of-text"):
        Constraints(Bytes(), 260, None)
    with pytest.raises(ConfigError, match="between words"):
        Constraints(make_tokenizer("words:1", lambda: ["a b"]), 9, 3)
