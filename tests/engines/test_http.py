"""The http engine against an application that answers in every way: each question ends answered or with the reason."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time

import pytest
from helpers.fault_server import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.engines import ResponseCache, cache_key, open_engine
from llmkit.engines.canary import PROMPTS
from llmkit.errors import EngineError, Incomplete, LlmkitError, UsageError
from llmkit.forms import Form
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.runs import Runner
from llmkit.types import Message, Reply, Request, Usage


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


def opened(server, path="/chat", model=None, **keys):
    given = {
        "url": server.url.removesuffix("/v1") + path,
        "body": {"question": "{{ prompt }}"},
        "answer": "$.answer",
        "retries": 1,
        "timeout_s": 20.0,
        "max_num_seqs": 8,
        **keys,
    }
    return open_engine(
        ModelSection(path=model), EngineSection.model_validate_json(json.dumps({"kind": "http", **given}))
    )


def run(engine, requests, cache=None):
    """name -> Reply, or the error that ended its request."""

    def steps(request):
        return (yield request)

    with Runner({"answerer": engine}, cache) as runner:
        return {f.key: f.error or f.result for f in runner.run((name, steps(r)) for name, r in requests.items())}


def ask(engine, *texts, cache=None, **more):
    return run(engine, {text: Request((Message("user", text),), **more) for text in texts}, cache)


def says(error, pattern):
    assert re.search(pattern, error.message), error.message


def answering(**reply):
    return lambda handler, body: handler._send(200, {"answer": f"re: {body['question']}", **reply})


def saying(status, data, kind="application/json"):
    return lambda handler, body: handler._send_bytes(status, data, {"Content-Type": kind})


def events(*chunks, whole=True):
    return lambda handler, body: handler._send_chunks([c.encode() for c in chunks], whole=whole)


def test_a_body_is_filled_in_leaf_by_leaf():
    got = []

    def route(handler, body):
        got.append((body, handler.headers["Content-Type"]))
        handler._send(200, {"data": {"texts": ["It ", "works", 1, None]}, "n": {"in": 7, "out": "2"}})

    body = {
        "history": "{{ messages }}",
        "text": "Q: {{ prompt }} ({{ messages|length }}, {{ customer }})",
        "tools": "{{tools}}",
        "options": [1, None, True, {"{{ prompt }}": "plain"}],
    }
    conversation = (
        Message("system", "Be brief."),
        Message("user", "one"),
        Message("assistant", "1"),
        Message("user", "two"),
    )
    with FaultServer(routes={"/chat": route}) as server:
        keys = {"answer": "$.data.texts[*]", "usage": {"prompt": "$.n.in", "completion": "$.n.out"}}
        request = Request(conversation, fields={"customer": "c 9", "prompt": "not this"}, tools=({"type": "function"},))
        reply = run(opened(server, body=body, **keys), {"a": request})["a"]
    assert got == [
        (
            {
                "history": [{"role": m.role, "content": m.content} for m in conversation],
                "text": "Q: two (4, c 9)",
                "tools": [{"type": "function"}],
                "options": [1, None, True, {"{{ prompt }}": "plain"}],
            },
            "application/json",
        )
    ]
    assert reply == Reply("It works1", usage=Usage(7))


TRICKS = [
    "{{ 7*7 }}",
    "{% raw %}",
    "{{ messages }}",
    "{# #}",
    '"}, {"x": "',
    "\x00\x1b[0m",
    "\ud800",
    "a\nb\r\n",
    "{{ ''.__class__ }}",
]


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(), max_size=30) | st.sampled_from(TRICKS), field=st.sampled_from(TRICKS))
def test_a_value_is_never_a_template(text, field):
    form = Form({"a": "{{ prompt }}", "b": ["<{{ field }}>"], "m": "{{ messages }}"}, frozenset({"messages"}))
    messages = [{"role": "user", "content": text}]
    filled = form.fill({"prompt": text, "field": field, "messages": messages})
    assert filled == {"a": text, "b": [f"<{field}>"], "m": messages}


def test_a_question_arrives_as_it_is():
    with FaultServer(routes={"/chat": answering()}) as server:
        replies = ask(opened(server), *TRICKS)
        asked = sorted(body["question"] for body in server.bodies)
    assert asked == sorted(t.replace("\ud800", "?") for t in TRICKS)
    assert replies["{{ 7*7 }}"].text == "re: {{ 7*7 }}"


@pytest.mark.parametrize("leaf", ["{{ prompt.__class__.__mro__ }}", "{{ 1 / 0 }}", "{{ nothing }}"])
def test_a_template_that_fails_names_its_leaf(leaf):
    with FaultServer(routes={"/chat": answering()}) as server:
        error = ask(opened(server, body={"question": {"deep": ["x", leaf]}}), "a")["a"]
        assert server.bodies == []
    assert "`engine.body` cannot be filled in: question.deep.1: " in error.message


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"body": {"deep": ["x", "{{ messages.append(1) }}"]}}, "deep.1: only `range` and plain methods"),
        ({"answer": "answer"}, "is no JSONPath"),
        ({"documents": "$.a["}, "is no JSONPath"),
        ({"body": {"a": ["{{ x"]}}, "a.0: unexpected end of template"),
        ({"headers_env": {"X-Key": "not a name"}}, "should be the name of an environment variable"),
        ({"method": "DELETE"}, "Input should be"),
    ],
)
def test_a_recipe_is_checked_before_anything_is_asked(keys, match):
    with FaultServer() as server, pytest.raises(ValueError, match=match):
        opened(server, **keys)


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"url": "chat.example/ask"}, "`engine.url` must begin with http://"),
        ({"url": None, "answer": None}, r"needs engine.url, engine.answer"),
        (
            {"headers_env": {"X-Key": "NOT_SET_ANYWHERE"}},
            "the variable NOT_SET_ANYWHERE, for the header X-Key, is not set",
        ),
        ({"headers_env": {"X Key": "HOME"}}, "is no name of a header"),
        ({"body": "{{ session }}"}, "uses `session`"),
        ({"body": ["{{ prompt }}"], "method": "GET"}, "of a GET is its query"),
    ],
)
def test_an_engine_that_cannot_work_is_not_opened(keys, match):
    with FaultServer() as server, pytest.raises(UsageError, match=match):
        opened(server, **keys)


def test_get_sends_a_query():
    def route(handler, body):
        handler._send(200, {"path": handler.path})

    with FaultServer(routes={"/chat": route}) as server:
        body = {"q": "{{ prompt }}", "n": 3}
        text = ask(opened(server, "/chat?v=1", method="GET", body=body, answer="$.path"), "a & b")["a & b"].text
    assert text == "/chat?v=1&q=a+%26+b&n=3"


WRONG = {
    "no path": (
        saying(200, b'{"error": {"text": "quota"}}'),
        r'`engine.answer` \(\$.answer\) finds nothing in the reply: {"error": {"text": "quota"}}',
        1,
    ),
    "a page": (
        saying(200, b"<!doctype html><title>Log in</title>" + b"x" * 900, "text/html"),
        "answers HTML, not JSON: <!doctype html><title>Log in</title>",
        1,
    ),
    "plain text": (saying(200, b"fine", "text/plain"), "answers text/plain, not JSON: fine", 1),
    "half": (saying(200, b'{"answer": "abc'), "not whole JSON.*after 2 tries", 2),
    "deep": (saying(200, b"[" * 100_000), "nested too deeply: .*after 2 tries", 2),
    "nothing": (saying(200, b""), "not whole JSON.*nothing", 2),
    "400": (saying(400, b'{"error": {"message": "no such field"}}'), r"refuses the request \(400\): no such field", 1),
    "422": (saying(422, b'{"loc": ["body", "text"]}'), r'refuses the request \(422\): {"loc": \["body", "text"\]}', 1),
    "401": (saying(401, b"go away"), r"refuses the request \(401\): go away", 1),
    "500": (saying(500, b"<h1>Oops</h1>", "text/html"), r"server error 500: Oops, after 2 tries", 2),
    "429": (
        lambda handler, body: handler._send(429, {"detail": "slow"}, {"Retry-After": "0"}),
        r"too many requests \(429\): slow, after 2 tries",
        2,
    ),
    "huge": (
        lambda handler, body: handler._send_chunks((b" " * 2**20 for _ in range(100)), "application/json"),
        "sends more than 16 MiB: the reply was cut off",
        1,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_answer_is_said(name):
    route, match, tries = WRONG[name]
    with FaultServer(routes={"/chat": route}) as server:
        error = ask(opened(server), "a")["a"]
        assert len(server.bodies) == tries
    assert isinstance(error, EngineError)
    says(error, match)
    assert len(error.message) < 600


def test_a_run_stops_where_no_answer_can_be_read_and_goes_on_where_one_could():
    def route(handler, body):
        good = body["question"] in better
        handler._send(200, {"answer" if good else "text": "a"})

    texts = [f"q{i}" for i in range(100)]
    with FaultServer(routes={"/chat": route}) as server:
        better = set()
        with pytest.raises(Incomplete, match=r"none of the first \d+ answers can be read: .* finds nothing") as stopped:
            ask(opened(server), *texts)
        assert "compare `engine.answer` with the reply" in stopped.value.hint
        assert len(server.bodies) < 60
        better = {"q0"}
        replies = ask(opened(server, max_num_seqs=1), *texts)
    assert [text for text in texts if isinstance(replies[text], Reply)] == ["q0"]
    assert len(replies) == 100


def test_a_reply_shows_200_characters_and_no_key(monkeypatch):
    monkeypatch.setenv("APP_HEADER", "Bearer tiptop-secret-9")
    with FaultServer(
        routes={"/chat": lambda h, b: h._send(200, {"sent": h.headers["X-Key"], "x": "y" * 5000})}
    ) as server:
        error = ask(opened(server, headers_env={"X-Key": "APP_HEADER"}), "a")["a"]
        assert server.headers[-1]["X-Key"] == "Bearer tiptop-secret-9"
    assert "tiptop" not in error.message
    assert '{"sent": "Bearer ***"' in error.message or '{"sent": "***"' in error.message
    assert len(error.message.partition("reply: ")[2]) <= 200


def test_an_answer_echoes_no_key(monkeypatch):
    monkeypatch.setenv("APP_HEADER", "tiptop-secret-9")
    with FaultServer(
        routes={"/chat": lambda h, b: h._send(200, {"answer": str(h.headers), "docs": [str(h.headers)]})}
    ) as server:
        reply = ask(opened(server, headers_env={"X-Key": "APP_HEADER"}, documents="$.docs[*]"), "a")["a"]
    assert "X-Key: ***" in reply.text
    assert "tiptop" not in str(reply)


@pytest.mark.parametrize(
    "error",
    [
        {"code": "content_filter", "message": "filtered", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"type": "content_filter"},
    ],
)
def test_a_content_filter_is_an_answer(error):
    route = saying(400, json.dumps({"error": error}).encode())
    with FaultServer(routes={"/chat": route}) as server:
        assert ask(opened(server), "a")["a"] == Reply("", finish_reason="content_filter")
        assert len(server.bodies) == 1


def test_a_small_reply_that_unfolds_is_cut_off():
    packed = gzip.compress(b" " * 40 * 2**20)
    route = lambda handler, body: handler._send_bytes(200, packed, {"Content-Encoding": "gzip"})  # noqa: E731
    with FaultServer(routes={"/chat": route}) as server:
        says(ask(opened(server), "a")["a"], "sends more than 16 MiB")
        assert server.headers[0]["Accept-Encoding"] == "identity"


def test_an_answer_has_no_half_characters_and_no_mark_before_it():
    with FaultServer(routes={"/chat": saying(200, b'\xef\xbb\xbf{"answer": "a\\ud800b"}')}) as server:
        assert ask(opened(server), "a")["a"].text == "a?b"


def test_documents_and_thoughts_are_kept_apart():
    reply = {"answer": "<think>hm</think>yes", "hits": [{"id": 7, "text": "é"}, {"id": "b"}]}
    with FaultServer(routes={"/chat": lambda handler, body: handler._send(200, reply)}) as server:
        assert ask(opened(server, documents="$.hits[*].id"), "a")["a"] == Reply("yes", "hm", documents=("7", "b"))
        assert ask(opened(server, documents="$.hits[*]"), "b")["b"].documents == (
            '{"id": 7, "text": "é"}',
            '{"id": "b"}',
        )
        assert ask(opened(server, documents="$.none"), "c")["c"].documents == ()


STREAMS = {
    "plain": ('data: {"d": "It "}\n\ndata: {"d": "works"}\n\ndata: [DONE]\n\n',),
    "split": ("da", 'ta: {"d": "I', 't "}\n', '\ndata: {"d": "works"}\n\n', "data: [DONE]\n\n"),
    "comments, ids and other ends": (
        ': hello\r\n\r\nid: 1\r\nretry: 9\r\ndata: {"d": "It "}\r\n\r\n',
        ': \r\rdata:{"d": "works"}\r\r',
    ),
    "several lines": ('data: {"d":\ndata: "It works"}\n\n',),
    "other events": (
        'event: start\ndata: {"id": 1}\n\ndata: {"d": null}\n\n',
        'data: {"d": "It works"}\n\ndata: {"done": true}\n\n',
    ),
    "no end but its own": ('data: {"d": "It works"}\n\n', "data: [DONE]\n\n", 'data: {"d": "never"}\n\n'),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_put_together(name):
    with FaultServer(routes={"/chat": events(*STREAMS[name])}) as server:
        assert ask(opened(server, stream="sse", answer="$.d"), "a")["a"] == Reply("It works")


def test_characters_may_be_split_between_chunks():
    data = 'data: {"d": "schön 🙂", "u": 3, "c": ["x"]}\n\n'.encode()
    route = lambda handler, body: handler._send_chunks(data[i : i + 1] for i in range(len(data)))  # noqa: E731
    keys = {"stream": "sse", "answer": "$.d", "usage": {"completion": "$.u"}, "documents": "$.c[*]"}
    with FaultServer(routes={"/chat": route}) as server:
        assert ask(opened(server, **keys), "a")["a"] == Reply("schön 🙂", usage=Usage(0, 3), documents=("x",))


BROKEN = {
    "cut": (events('data: {"d": "It "}\n\n', whole=False), "the connection broke", 2),
    "no delta": (events('data: {"x": 1}\n\ndata: {"y": 2}\n\n'), r'finds nothing in the reply: {"x": 1} {"y": 2}', 1),
    "no JSON": (events("data: hello\n\n"), "an event is not whole JSON: hello, after 2 tries", 2),
    "an error": (
        events('event: error\ndata: {"message": "overloaded"}\n\n'),
        "the stream ends in an error: .*overloaded",
        2,
    ),
    "no stream": (answering(), "answers application/json, not an event stream: .*re: a", 1),
    "huge": (events(*(f'data: {{"d": "{"x" * 2**20}"}}\n\n' for _ in range(40))), "sends more than 16 MiB", 1),
    "one huge line": (events("data: ", *("x" * 2**20 for _ in range(40))), "sends more than 16 MiB", 1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_stream_is_said(name):
    route, match, tries = BROKEN[name]
    with FaultServer(routes={"/chat": route}) as server:
        error = ask(opened(server, stream="sse", answer="$.d"), "a")["a"]
        assert len(server.bodies) == tries
    says(error, match)


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
