"""Server-sent events of an application: put together as they come, or the reason why not."""

from __future__ import annotations

import pytest
from helpers.application import answering, ask, events, opened, says
from helpers.fault_server import FaultServer

from llmkit.types import Reply, Usage


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


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
