"""Limits: bodies and heads that are too long, clients that are slow or leave, too many at once, keys."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil
import pytest
from helpers.upstreams import chat, get, here, post, streamed, whole

from llmkit.proxy import Proxy, connection, server
from llmkit.proxy.settings import Settings
from llmkit.proxy.upstream import Upstream

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def url(upstream):
    with here(Proxy(Settings(), Upstream(upstream.url))) as address:
        yield address


def raw(url, content, seconds=20.0):
    """Sends bytes and returns all that comes back until the connection is closed."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=seconds) as connected:
        connected.sendall(content)
        received = b""
        while piece := connected.recv(65536):
            received += piece
        return received


def begun(url, body):
    """Returns a connection on which a chat request was sent."""
    parts = urlsplit(url)
    client = socket.create_connection((parts.hostname, parts.port), timeout=20)
    client.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (CHAT.encode(), len(body), body))
    return client


def until(condition, seconds=20.0):
    """Waits until something is true, at most so long."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


CLOSE = b"Connection: close\r\n"


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Bad: a\x00b\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nBad Name: a\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /v1/models HTTP/1.1\r\n" + CLOSE + b"\r\n", b"HTTP/1.1 400"),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"HTTP/1.1 400"),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET http://evil.example/v1 HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n", b"HTTP/1.1 400"),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n", b"HTTP/1.1 400"),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n", b"HTTP/1.1 4"),
        (b"\x16\x03\x01 no HTTP at all\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Odd: gr\xc3\xb6\r\n" + CLOSE + b"\r\n", b"HTTP/1.1 200"),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Odd: gr\xf6\r\n" + CLOSE + b"\r\n", b"HTTP/1.1 400"),
        (b"GET /v1/mod\xe8les HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n", b"HTTP/1.1 400"),
    ],
)
def test_a_hostile_head_is_refused_or_passed_as_it_is(url, upstream, head, answer):
    before = len(upstream.seen)
    try:
        received = raw(url, head)
    except ConnectionError:  # closed with bytes unread, which is a refusal, too
        received = answer
    assert received.startswith(answer) or not received
    if answer.endswith(b"200"):
        assert dict(upstream.seen[-1].headers)[b"x-odd"] == b"gr\xc3\xb6"
    else:
        assert len(upstream.seen) == before
    assert json.loads(get(f"{url}/health"))["status"] == "ok"


def test_two_lengths_do_not_smuggle_a_request(url, upstream):
    body = b"0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    head = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n%s\r\n"
    raw(url, head % (len(body), CLOSE) + body)
    assert not any(b"smuggled" in seen.target for seen in upstream.seen)
    assert upstream.seen[-1].body == b""
    assert upstream.seen[-1].header("content-length") is None


def test_what_is_for_one_connection_stays_behind(url, upstream):
    async def answer(seen, send):
        await whole(send, {}, headers=((b"connection", b"x-hop"), (b"x-hop", b"1"), (b"x-llmkit-repair", b"forged")))

    upstream.reply, before = answer, upstream.reply
    try:
        fields = b"Connection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nX-End: 2"
        received = raw(url, b"GET /v1/a?b HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n\r\n")
    finally:
        upstream.reply = before
    assert b"x-hop" not in received
    assert b"forged" not in received
    names = {name for name, _ in upstream.seen[-1].headers}
    assert names == {b"host", b"x-end"}


@pytest.mark.slow
@pytest.mark.parametrize(("path", "chunked"), [(CHAT, False), ("/v1/files", True)])
def test_a_body_of_50_megabytes_streams_through_without_being_kept(upstream, path, chunked):
    with here(Proxy(Settings("repair"), Upstream(upstream.url))) as url:
        streams_through(url, upstream, path, chunked)


def streams_through(url, upstream, path, chunked):
    content = b'{"messages": "' + b"a" * 50_000_000 + b'"}'
    process, peak = psutil.Process(), [0]
    before = process.memory_info().rss
    parts = urlsplit(url)
    seen_sizes = []

    async def measure(seen, send):
        seen_sizes.append(len(seen.body))
        peak[0] = process.memory_info().rss - before
        await whole(send, {"length": len(seen.body)})

    upstream.reply, echoing = measure, upstream.reply
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
    try:
        pieces = (content[at : at + 1_000_000] for at in range(0, len(content), 1_000_000))
        client.request("POST", path, body=pieces if chunked else content, encode_chunked=chunked, headers=(
            {"Transfer-Encoding": "chunked"} if chunked else {}
        ))  # fmt: skip
        answer = client.getresponse()
        assert json.loads(answer.read()) == {"length": len(content)}
        assert answer.getheader("x-llmkit-repair") == ("skipped" if path == CHAT else None)
    finally:
        client.close()
        upstream.reply = echoing
        upstream.seen.clear()
    assert peak[0] < 250_000_000  # the scripted server itself keeps all of it, and copies it as it grows


def test_a_client_that_leaves_ends_its_request(url, upstream):
    async def endless(seen, send):
        await streamed(send, ["a"] * 10_000, pause=0.05)

    upstream.reply, before = endless, upstream.reply
    left = upstream.left
    try:
        with begun(url, json.dumps(chat("a", stream=True)).encode()) as client:
            assert client.recv(10) == b"HTTP/1.1 2"
        until(lambda: upstream.left == left + 1)
    finally:
        upstream.reply = before
    until(lambda: "llmkit_proxy_in_flight 0" in get(f"{url}/metrics"))


def test_a_client_that_leaves_before_an_answer_ends_its_request(url, upstream):
    async def silent(seen, send):
        await asyncio.sleep(60)

    upstream.reply, before = silent, upstream.reply
    left, seen = upstream.left, len(upstream.seen)
    try:
        with begun(url, b"{}"):
            until(lambda: len(upstream.seen) == seen + 1)
        until(lambda: upstream.left == left + 1)
    finally:
        upstream.reply = before


@pytest.mark.slow
def test_slow_clients_are_let_go(upstream, monkeypatch):
    monkeypatch.setattr(connection, "SLOW_SECONDS", 0.5)
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.5)
    with here(Proxy(Settings(), Upstream(upstream.url))) as url:
        assert raw(url, b"") == b""
        assert raw(url, b"POST /v1/x HTT") == b""
        half = b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{" % CHAT.encode()
        assert raw(url, half).startswith(b"HTTP/1.1 408")
        whole_request = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
        assert raw(url, whole_request + b"GET /hea").startswith(b"HTTP/1.1 200")
        assert json.loads(get(f"{url}/health"))["status"] == "ok"


def test_a_client_that_does_not_read_is_let_go(upstream, monkeypatch):
    monkeypatch.setattr(connection, "SLOW_SECONDS", 0.5)

    async def floods(seen, send):
        await streamed(send, ["a" * 100_000] * 1000)

    upstream.reply, before = floods, upstream.reply
    left = upstream.left
    try:
        with here(Proxy(Settings(), Upstream(upstream.url))) as url:
            with begun(url, json.dumps(chat("a", stream=True)).encode()):
                until(lambda: upstream.left == left + 1)
            assert 'reason="client slow"} 1' in get(f"{url}/metrics")
    finally:
        upstream.reply = before


def test_more_than_can_be_done_is_refused_with_a_time_to_come_back(upstream):
    async def slow(seen, send):
        await asyncio.sleep(1.0)
        await whole(send, {})

    upstream.reply, before = slow, upstream.reply
    try:
        with here(Proxy(Settings(most_requests=2), Upstream(upstream.url))) as url, ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: post(f"{url}{CHAT}", chat("a")), range(8)))
            assert json.loads(get(f"{url}/health"))["status"] == "ok"
    finally:
        upstream.reply = before
    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {200, 503}
    assert {headers["retry-after"] for status, headers, _ in answers if status == 503} == {"1"}
    assert "too many requests" in next(
        json.loads(body)["error"]["message"] for status, _, body in answers if status == 503
    )


def test_clients_show_the_proxys_key_and_the_upstream_gets_its_own(upstream):
    settings = Settings(own_key="the-key-of-the-proxy")
    with here(Proxy(settings, Upstream(upstream.url, key="the-key-of-the-upstream"))) as url:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "the-key-of-the-proxy"}):
            status, _, answer = post(f"{url}{CHAT}", chat("a"), **given)
            assert (status, json.loads(answer)["error"]["type"]) == (401, "key")
            assert post(f"{url}/repair", {"text": "a"}, **given)[0] == 401
        assert post(f"{url}{CHAT}", chat("a"), Authorization="Bearer the-key-of-the-proxy")[0] == 200
        assert upstream.seen[-1].header("authorization") == "Bearer the-key-of-the-upstream"
        assert "key-of" not in get(f"{url}/metrics", Authorization="Bearer the-key-of-the-proxy")
        get(f"{url}/health")
    with here(Proxy(settings, Upstream(upstream.url))) as url:
        post(f"{url}{CHAT}", chat("a"), Authorization="Bearer the-key-of-the-proxy")
    assert upstream.seen[-1].header("authorization") is None


def test_an_upstream_that_is_not_there_is_a_clear_error():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://user:a-password@127.0.0.1:{closed.getsockname()[1]}/v1"
        with here(Proxy(Settings(), Upstream(address))) as url:
            status, _, answer = post(f"{url}{CHAT}", chat("a"))
    assert (status, json.loads(answer)["error"]["type"]) == (502, "upstream_connect")
    assert "a-password" not in answer.decode()


@pytest.mark.skipif(not os.path.exists("/proc"), reason="counts open files")
def test_nothing_is_left_open(url):
    process = psutil.Process()
    post(f"{url}{CHAT}", chat("a"))
    before = process.num_fds()
    for number in range(50):
        post(f"{url}{CHAT}", chat(f"a {number}"))
    until(lambda: process.num_fds() <= before + 4)
