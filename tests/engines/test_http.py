"""The http engine fills in a body, and reads the reply of an application by paths, or says why it cannot."""

from __future__ import annotations

import gzip
import json

import pytest
from helpers.application import answering, ask, opened, run, saying, says
from helpers.fault_server import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import EngineError, Incomplete, UsageError
from llmkit.forms import Form
from llmkit.types import Message, Reply, Request, ToolCall, Usage


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


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


CALL = ToolCall("refund", {"order": 7})


@pytest.mark.parametrize(
    "call",
    [
        {"name": "refund", "arguments": {"order": 7}},
        {"type": "function", "function": {"name": "refund", "arguments": '{"order": 7}'}},
        {"type": "tool_use", "id": "t1", "name": "refund", "input": {"order": 7}},
        [{"name": "refund", "args": {"order": 7}}],
    ],
)
def test_tool_calls_are_read_by_their_path_in_any_providers_form(call):
    reply = {"answer": None, "calls": [call]}
    with FaultServer(routes={"/chat": lambda handler, body: handler._send(200, reply)}) as server:
        assert ask(opened(server, tool_calls="$.calls[*]"), "a")["a"] == Reply("", tool_calls=(CALL,))


def test_a_reply_without_tool_calls_is_its_text_and_what_is_none_is_said():
    reply = {"answer": "yes", "calls": None, "odd": ["refund"]}
    with FaultServer(routes={"/chat": lambda handler, body: handler._send(200, reply)}) as server:
        assert ask(opened(server, tool_calls="$.calls"), "a")["a"] == Reply("yes")
        says(
            ask(opened(server, tool_calls="$.odd[*]"), "b")["b"],
            r"`engine.tool_calls` \(.*finds what is no tool call: \"ref",
        )
        with pytest.raises(UsageError, match="in pieces"):
            opened(server, tool_calls="$.calls", stream="sse")
