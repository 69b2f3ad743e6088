"""A journalled call names its request, and answers the same job again."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from helpers.fakes import FakeEngine

from llmkit.engines import EngineIdentity
from llmkit.evaluate.journal import answers, call_row
from llmkit.measure.texts import Keeper
from llmkit.runs import Runner
from llmkit.types import Message, Request

REQUEST = Request(
    (Message("user", "hi"),), tools=({"name": "f", "n": [1]},), fields={"customer": "Ann Lee", "note": "new"}
)


def asked(request, fields):
    """The journal's row of a call of an engine that reads these fields."""
    engine = FakeEngine(capabilities=frozenset({"tools"}))
    engine.identity = EngineIdentity(kind="fake", version="1", model="m", revision="0", settings=(("fields", fields),))

    def steps():
        return (yield request)

    with Runner({"answerer": engine}) as runner:
        (done,) = runner.run([("a", steps())])
    return json.loads(json.dumps(call_row(done.calls[0])))


def still(row, request):
    """Returns whether a row answers a job that makes this request, where the model cannot be asked who it is."""

    def steps():
        yield request

    job = SimpleNamespace(variant=SimpleNamespace(text="hi"), steps=steps)
    return answers({"text": "hi", "calls": [row]}, job, None, Keeper("full"))


def test_a_call_says_what_the_engine_read_and_no_text_of_it():
    row = asked(REQUEST, "customer")
    assert row["tools"] == [{"name": "f", "n": [1]}]
    assert list(row["fields"]) == ["customer"]
    assert "Ann" not in json.dumps(row)
    assert "fields" not in asked(REQUEST, "")
    assert {"tools", "fields"}.isdisjoint(asked(Request((Message("user", "hi"),)), "*"))


@pytest.mark.parametrize(
    ("fields", "other", "same"),
    [
        ("customer", REQUEST, True),
        ("customer", replace(REQUEST, fields={"customer": "Ann Lee", "note": "old"}), True),
        ("customer", replace(REQUEST, fields={"customer": "Bo"}), False),
        ("customer", replace(REQUEST, fields={}), False),
        ("*", replace(REQUEST, fields={"customer": "Ann Lee", "note": "old"}), False),
        ("", replace(REQUEST, fields={}), True),
        ("", replace(REQUEST, tools=()), False),
        ("", replace(REQUEST, tools=({"name": "g"},)), False),
        ("", replace(REQUEST, messages=(Message("user", "ho"),)), False),
    ],
)
def test_a_call_answers_the_same_request_again(fields, other, same):
    assert still(asked(REQUEST, fields), other) is same


def test_a_row_of_an_earlier_release_answers_a_request_whose_row_has_fields_now():
    row = asked(Request((Message("user", "hi"),)), "")
    assert still(row, Request((Message("user", "hi"),), fields={"customer": "Ann Lee"}))
