"""Generators of requests, run by hand: each gets its own replies, in the shape it asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.fakes import FakeEngine
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import EngineError
from llmkit.runs import Runner
from llmkit.steps import Walk, ask_all, ask_one, drive, mapped
from llmkit.types import Message, Reply, Request

# How many requests a generator asks at each stage: None is one alone, a number that many in a list.
SHAPES = st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=5)


def request(text: str) -> Request:
    return Request((Message("user", text),))


def echo(asked: Request) -> Reply:
    return Reply(f"{asked.messages[0].content}/{asked.replicate}")


def asking(shape):
    """Asks in this shape, checks the shape of what it is sent, and returns all texts."""
    texts = []
    for stage, many in enumerate(shape):
        if many is None:
            reply = yield request(f"{stage}")
            texts.append(reply.text)
        else:
            replies = yield [request(f"{stage}.{n}") for n in range(many)]
            assert isinstance(replies, list)
            texts += [reply.text for reply in replies]
    return texts


def expected(shape, replicate=0):
    names = [[f"{s}"] if many is None else [f"{s}.{n}" for n in range(many)] for s, many in enumerate(shape)]
    return [f"{name}/{replicate}" for stage in names for name in stage]


def marked(asked: Request) -> Request:
    return replace(asked, replicate=asked.replicate + 7)


@settings(deadline=None)
@given(SHAPES)
def test_a_driven_generator_returns_what_it_makes_of_its_replies(shape):
    assert drive(asking(shape), echo) == expected(shape)


@settings(deadline=None)
@given(SHAPES)
def test_a_mapped_generator_asks_changed_requests_and_is_sent_their_replies(shape):
    assert drive(mapped(asking(shape), marked), echo) == expected(shape, 7)
    assert drive(mapped(mapped(asking(shape), marked), marked), echo) == expected(shape, 14)


@settings(deadline=None)
@given(SHAPES, st.integers(0, 99))
def test_the_runner_drives_as_drive_does(shape, seed):
    engine = FakeEngine(lambda asked: echo(asked).text, shuffle=seed)
    done = {d.key: d.result for d in Runner({"answerer": engine}).run([("a", asking(shape)), ("b", asking(shape))])}
    assert done == dict.fromkeys("ab", drive(asking(shape), echo))


@settings(deadline=None)
@given(SHAPES, st.data())
def test_the_first_error_among_the_replies_is_thrown_where_it_can_be_caught(shape, data):
    names = [text.partition("/")[0] for text in expected(shape)]
    failing = set(data.draw(st.lists(st.sampled_from(names or ["none"]))))

    def careful():
        try:
            return (yield from asking(shape))
        except EngineError as error:
            reply = yield request("again")
            return [error.message, reply.text]

    def answer(asked):
        name = asked.messages[0].content
        return EngineError(name) if name in failing else echo(asked)

    first = next((name for name in names if name in failing), None)
    wanted = expected(shape) if first is None else [first, "again/0"]
    assert drive(careful(), answer) == wanted
    if first is None:
        return
    assert drive(mapped(careful(), marked), answer) == [first, "again/7"]
    with pytest.raises(EngineError, match=first):
        drive(mapped(asking(shape), marked), answer)


def test_a_drive_that_is_broken_off_closes_its_generator():
    closed = []

    def steps():
        try:
            yield request("a")
            closed.append("went on")
        finally:
            closed.append("closed")

    def refuse(asked):
        raise KeyError(asked.messages[0].content)

    for broken in (steps(), mapped(steps(), marked)):
        with pytest.raises(KeyError):
            drive(broken, refuse)
    assert closed == ["closed", "closed"]


def test_a_walk_shows_what_it_waits_for_and_in_the_end_its_result():
    walk = Walk(asking([None, 2]))
    assert walk.resume() == [request("0")]
    assert walk.resume([Reply("x")]) == [request("1.0"), request("1.1")]
    assert walk.resume([Reply("y"), Reply("z")]) is None
    assert walk.result == ["x", "y", "z"]


def test_named_requests_are_asked_at_once_and_one_that_failed_has_no_reply():
    def ask(jobs):
        for name, steps in jobs:
            yield name, None if name == "bad" else drive(steps, echo)

    assert ask_all({"good": request("a"), "bad": request("b")}, ask) == {"good": Reply("a/0"), "bad": None}
    assert drive(ask_one(request("a")), echo) == Reply("a/0")
