"""Calls of an application: sessions, redirects, keys, faults that pass, the pace, and who answers."""

from __future__ import annotations

import threading
import time

import pytest
from helpers.application import answering, ask, opened, says
from helpers.fault_server import FaultServer

from llmkit.engines import ResponseCache, cache_key
from llmkit.engines.canary import PROMPTS
from llmkit.errors import LlmkitError
from llmkit.types import Message, Request


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


def test_one_call_before_each_question_opens_its_session(monkeypatch):
    monkeypatch.setenv("DOOR", "the-door-key")
    count = iter(range(100, 200))

    def door(handler, body):
        handler._send(200, {"session": {"id": next(count)}, "who": handler.headers["X-Door"]})

    def chat(handler, body):
        handler._send(200, {"answer": f"{body['session']} {body['text']} {handler.headers['X-Door']}"})

    with FaultServer(routes={"/door": door, "/chat": chat}) as server:
        before = {
            "url": server.url.removesuffix("/v1") + "/door",
            "body": {"for": "{{ prompt }}"},
            "headers_env": {"X-Door": "DOOR"},
            "session": "$.session.id",
        }
        body = {"session": "{{ session }}", "text": "in {{ session }}: {{ prompt }}"}
        texts = [f"q{i}" for i in range(5)]
        replies = ask(opened(server, before=before, body=body), *texts)
        doors = [b["for"] for b in server.bodies if "for" in b]
        error = ask(opened(server, before=before | {"session": "$.id"}, body=body), "a")["a"]
    assert sorted(doors) == texts
    sessions = {name: int(reply.text.split()[0]) for name, reply in replies.items()}
    assert sorted(sessions.values()) == list(range(100, 105))
    assert replies["q3"].text == f"{sessions['q3']} in {sessions['q3']}: q3 None", "its headers are its own"
    says(error, r"`engine.before.session` \(\$.id\) finds nothing in the reply: {\"session\": {\"id\"")
    assert "the-door-key" not in error.message


def test_one_conversation_knows_nothing_of_another():
    def route(handler, body):
        handler._send(200, {"answer": str(handler.headers["Cookie"])}, {"Set-Cookie": "session=1; Path=/"})

    with FaultServer(routes={"/chat": route}) as server:
        replies = ask(opened(server, max_num_seqs=1), "a", "b", "c")
    assert {reply.text for reply in replies.values()} == {"None"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_carries_nothing_along(status, monkeypatch):
    monkeypatch.setenv("APP_HEADER", "tiptop-secret-9")
    with FaultServer(routes={"/chat": answering()}) as other:
        target = other.url.removesuffix("/v1") + "/chat"
        with FaultServer(routes={"/chat": lambda h, b: h._send(status, {}, {"Location": target})}) as server:
            error = ask(opened(server, headers_env={"X-Key": "APP_HEADER"}), "a")["a"]
        assert other.paths == []
    says(error, "redirects to another server, http://127")
    assert "engine.url" in error.hint


def test_a_redirect_within_the_server_is_followed_where_the_body_goes_along():
    def move(handler, body):
        handler._send(307 if body["question"] == "a" else 302, {}, {"Location": "/new"})

    with FaultServer(routes={"/chat": move, "/new": lambda h, b: answering()(h, b or {"question": "lost"})}) as server:
        replies = ask(opened(server), "a", "b")
    assert replies["a"].text == "re: a"
    says(replies["b"], "has moved to http://127.0.0.1:.*/new")


def test_user_and_password_of_an_address_are_sent_and_never_shown():
    with FaultServer(routes={"/chat": lambda h, b: h._send(404, {"detail": str(h.headers)})}) as server:
        url = server.url.replace("http://", "http://someone:passw0rd-x@").replace("/v1", "/chat?api_key=query-secret-1")
        engine = opened(server, url=url)
        error = ask(engine, "a")["a"]
        assert server.headers[-1]["Authorization"] == "Basic c29tZW9uZTpwYXNzdzByZC14"
        assert server.paths[-1] == "/chat?api_key=query-secret-1"
    for secret in ("passw0rd-x", "query-secret-1", "c29tZW9uZTpwYXNzdzByZC14"):
        assert secret not in error.message + str(engine.identity)


def test_a_passing_fault_is_tried_again():
    tries = {}
    lock = threading.Lock()

    def route(handler, body):
        with lock:
            attempt = tries[body["question"]] = tries.get(body["question"], -1) + 1
        if attempt == 0:
            handler.close_connection = True
            return handler.connection.close()
        if attempt == 1:
            return handler._send(503, {})
        return answering()(handler, body)

    with FaultServer(routes={"/chat": route}) as server:
        replies = ask(opened(server, retries=2), *(f"q{i}" for i in range(20)))
    assert {name: reply.text for name, reply in replies.items()} == {f"q{i}": f"re: q{i}" for i in range(20)}


def test_an_application_that_is_not_there_stops_the_run():
    with FaultServer(routes={"/chat": answering()}) as server:
        engine = opened(server)
    with pytest.raises(LlmkitError, match="no server answers at http://127"):
        ask(engine, "a", "b")


def test_a_late_answer_has_its_limit():
    with FaultServer(
        routes={"/chat": lambda h, b: time.sleep(3) if b["question"] == "slow" else answering()(h, b)}
    ) as server:
        replies = ask(opened(server, timeout_s=0.5, retries=0), "slow", "quick")
    says(replies["slow"], "no whole answer within the time limit")
    assert replies["quick"].text == "re: quick"


def test_no_more_requests_a_second_than_were_asked_for():
    moments = []

    def route(handler, body):
        moments.append(time.monotonic())
        if body and len(moments) == 20:
            return handler._send(503, {})
        return handler._send(200, {"answer": "a", "id": 1})

    with FaultServer(routes={"/chat": route, "/door": route}) as server:
        began = time.monotonic()
        before = {"url": server.url.removesuffix("/v1") + "/door", "session": "$.id"}
        ask(opened(server, rps=50.0, max_num_seqs=16, before=before), *(f"q{i}" for i in range(15)))
    assert len(moments) in (31, 32), "one was tried again"
    # Counted from the start, because on their way some are delayed, and none is early.
    for number, moment in enumerate(sorted(moments)):
        assert moment - began >= number / 50


def identity(server, **keys):
    engine = opened(server, **keys)
    try:
        return engine.identity
    finally:
        engine.close()


def test_who_answers_is_what_the_recipe_says():
    with FaultServer(routes={"/chat": answering()}) as server:
        same = identity(server, timeout_s=3.0, retries=0, rps=5.0, max_num_seqs=2)
        assert identity(server) == same
        others = [
            identity(server, body={"question": "{{ prompt }} "}),
            identity(server, answer="$"),
            identity(server, method="PUT"),
            identity(server, stream="sse"),
            identity(server, documents="$.d"),
            identity(server, path="/other"),
            identity(server, model="v4"),
        ]
        assert server.paths == [], "and nobody has to be asked"
    assert len({cache_key(i, Request((Message("user", "a"),))) for i in [same, *others]}) == 8


def test_only_the_fields_that_a_body_uses_are_part_of_the_key():
    with FaultServer() as server:
        who = identity(server, body=["{{ customer }} {{ prompt }}"])
        assert identity(server, body="{{ range }}").fields == ("range",)
    keys = {
        cache_key(who, Request((), fields=f))
        for f in ({"customer": "a"}, {"customer": "b"}, {"customer": "a", "x": "1"})
    }
    assert len(keys) == 2
    assert who.fields == ("customer",)


def test_another_model_in_the_reply_is_another_identity():
    model = ["first"]
    route = lambda handler, body: handler._send(200, {"answer": "a", "m": model[0], "f": "fp"})  # noqa: E731
    with FaultServer(routes={"/chat": route}) as server:
        keys = {"reported_model": "$.m", "reported_fingerprint": "$.f", "body": "{{ customer }}: {{ prompt }}"}
        first = identity(server, **keys)
        assert [b.split(": ")[1] for b in server.bodies] == [PROMPTS[0]], "one call tells"
        assert identity(server, **keys) == first
        model[0] = "second"
        assert identity(server, **keys) != first
    assert dict(first.settings)["model"] == "first"


def test_a_deterministic_application_is_recognised_by_what_it_answers():
    mark = [""]
    route = lambda handler, body: handler._send(200, {"answer": body["question"][:9] + mark[0]})  # noqa: E731
    with FaultServer(routes={"/chat": route}) as server, ResponseCache() as cache:
        first = opened(server, deterministic=True)
        assert ask(first, "a", cache=cache)["a"].text == "a"
        asked = len(server.bodies)
        ask(opened(server, deterministic=True), "a", cache=cache)
        assert len(server.bodies) == asked + len(PROMPTS), "only the canary was asked again"
        mark[0] = "!"
        assert ask(opened(server, deterministic=True), "a", cache=cache)["a"].text == "a!"
