"""Servers and clients that break the rules: each request has an answer or an error, and what is not changed is the very
bytes."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from helpers.upstreams import (
    ScriptedWorker,
    chat,
    get,
    here,
    piece,
    post,
    raw_server,
    streamed,
    whole,
)

from llmkit.proxy import Proxy
from llmkit.proxy.settings import Settings
from llmkit.proxy.shadow import Log
from llmkit.proxy.upstream import Upstream
from llmkit.repair import Repaired, RepairFile

CHAT = "/v1/chat/completions"
OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = b"content-type: text/plain\r\n"


async def in_capitals(text):
    return Repaired(text.upper(), action="repaired") if text.upper() != text else Repaired(text)


@pytest.fixture(scope="module")
def url(upstream):
    with here(Proxy(Settings("repair"), Upstream(upstream.url), [ScriptedWorker(in_capitals)])) as address:
        yield address


@pytest.fixture(scope="module")
def broken():
    """A server that answers with bytes as they are, and a proxy before it."""
    with raw_server() as server, here(Proxy(Settings(), Upstream(server.url, seconds=2.0))) as address:
        yield server, address


def asked(url, body=b"{}", path=CHAT):
    """Asks, and returns the status, the fields and the body, which is None where it was cut."""
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        client.request("POST", path, body=body)
        answer = client.getresponse()
        try:
            return answer.status, dict(answer.getheaders()), answer.read()
        except http.client.IncompleteRead:
            return answer.status, dict(answer.getheaders()), None
    finally:
        client.close()


def said(content):
    """An answer that is sent at once."""
    return lambda connected: connected.sendall(content)


@pytest.mark.parametrize(
    ("content", "status", "body"),
    [
        (b"", 502, ...),
        (b"no HTTP at all\r\n\r\n", 502, ...),
        (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 502, ...),
        (OK + b"content-length: -1\r\n\r\n", 502, ...),
        (OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab", 502, ...),
        (OK + b"x-long: " + b"a" * 300_000 + b"\r\n\r\n", 502, ...),
        (OK + b"x-bad: a\x00b\r\ncontent-length: 0\r\n\r\n", 502, ...),
        (OK + b"transfer-encoding: gzip\r\n\r\n", 502, ...),
        (OK + b"content-length: 100\r\n\r\nonly some", 200, None),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nsome \r\nno number\r\n", 502, ...),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nsome ", 200, None),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK + b"content-length: 1\r\n\r\na", 200, b"a"),
        (OK + b"content-length: 1\r\n\r\nabc", 502, ...),
        (b"HTTP/1.0 200 OK\r\n" + PLAIN + b"\r\nuntil it closes", 200, b"until it closes"),
        (b"HTTP/1.1 599 Odd One\r\ncontent-length: 1\r\n\r\na", 599, b"a"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    ],
)
def test_a_server_that_breaks_the_rules_is_an_error_or_a_cut_answer(broken, content, status, body):
    server, url = broken
    server.answer = said(content)
    got_status, _, got = asked(url)
    assert json.loads(get(f"{url}/health"))["status"] == "ok"
    assert got_status == status
    if body is ...:
        assert json.loads(got)["error"]["message"].startswith("llmkit proxy: ")
    else:
        assert got == body


def test_fields_of_an_answer_stay_and_trailers_do_not_pass(broken):
    server, url = broken
    fields = b"set-cookie: a=1\r\nset-cookie: b=2\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n"
    server.answer = said(OK + fields + b"\r\n5\r\nwhole\r\n0\r\nx-sum: 7\r\n\r\n")
    received = raw(url, b"GET /v1/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    head = received.partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"set-cookie: ") == 2
    assert b"x-sum" not in received
    assert b"whole" in received


def test_trailers_of_a_request_do_not_pass(url, upstream):
    chunks = b"2\r\n{}\r\n0\r\nX-Sum: 7\r\nContent-Length: 900\r\n\r\n"
    head = (
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert raw(url, head + chunks).startswith(OK[:-2])
    seen = upstream.seen[-1]
    assert seen.body == b"{}"
    assert not {b"x-sum", b"trailer", b"content-length"} & {name for name, _ in seen.headers}


def test_an_answer_of_one_byte_at_a_time_comes_whole(broken):
    server, url = broken

    def slowly(connected):
        for number in range(len(content)):
            connected.sendall(content[number : number + 1])
            time.sleep(0.005)

    # It says that it closes: a request on a connection that is closed at that very time is lost.
    content = OK + b"connection: close\r\ncontent-length: 30\r\n\r\n" + b"a" * 30
    server.answer = slowly
    assert asked(url)[::2] == (200, b"a" * 30)


def test_a_server_that_falls_silent_is_given_up(broken):
    server, url = broken

    def silent(connected):
        connected.sendall(begun)
        connected.recv(1)  # until the proxy closes

    server.answer, begun = silent, b""
    assert asked(url)[0] == 504
    begun = OK + b"content-length: 9\r\n\r\nsome"
    assert asked(url)[::2] == (200, None)
    assert 'llmkit_proxy_upstream_errors_total{reason="timeout"} 2' in get(f"{url}/metrics")


def raw(url, content):
    """Sends bytes and returns all that comes back until the connection is closed."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connected:
        connected.sendall(content)
        received = b""
        while more := connected.recv(65536):
            received += more
        return received


def test_an_answer_that_comes_before_the_body_is_whole_passes(broken):
    """A server that refuses a long upload answers at once, and many read no further."""
    server, url = broken
    parts = urlsplit(url)

    def refuses(connected):
        connected.sendall(b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 8\r\n\r\ntoo long")
        while connected.recv(65536):  # or the rest of the upload would reset the connection
            pass

    server.answer = refuses
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as client:
        client.sendall(b"POST /v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsome \r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "content", "status", "length"),
    [
        ("HEAD", OK + b"content-length: 30\r\nconnection: close\r\n\r\n", 200, "30"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 30\r\nconnection: close\r\n\r\n", 304, "30"),
        ("GET", b"HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 302, "0"),
    ],
)
def test_answers_without_a_body_pass_and_redirects_are_for_the_client(broken, method, content, status, length):
    server, url = broken
    server.answer = said(content)
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    client.request(method, "/v1/models")
    answer = client.getresponse()
    assert (answer.status, answer.getheader("content-length"), answer.read()) == (status, length, b"")
    client.close()


def test_a_client_of_http_1_0_gets_no_chunks(broken):
    server, url = broken
    server.answer = said(OK + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nwhole\r\n0\r\n\r\n")
    received = raw(url, b"GET /v1/models HTTP/1.0\r\n\r\n")
    assert received.endswith(b"\r\n\r\nwhole")
    assert b"transfer-encoding" not in received.lower()


def test_an_encoded_answer_stays_encoded(broken):
    server, url = broken
    content = gzip.compress(b"some text")
    fields = b"content-encoding: gzip\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(content)
    server.answer = said(OK + fields + content)
    status, headers, body = asked(url)
    assert (status, headers["content-encoding"], body) == (200, "gzip", content)


UPGRADE = b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: a\r\nConnection: %s\r\nUpgrade: %s\r\n%s\r\n"
SOCKET = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def test_a_websocket_is_refused_by_a_clear_error(url, upstream):
    before = len(upstream.seen)
    received = raw(url, UPGRADE % (b"Upgrade, close", b"WebSocket", SOCKET))
    assert received.startswith(b"HTTP/1.1 501 ")
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"] == {
        "message": "llmkit proxy: a WebSocket does not pass: connect to the upstream itself",
        "type": "upgrade",
    }
    assert len(upstream.seen) == before
    assert 'llmkit_proxy_refused_total{reason="upgrade"} ' in get(f"{url}/metrics")


def test_another_upgrade_is_an_offer_that_nobody_takes(url, upstream):
    """As HTTP has it (RFC 9110, 7.8): the request is answered as it is. `curl --http2` sends such."""
    fields = b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    received = raw(url, UPGRADE % (b"Upgrade, HTTP2-Settings, close", b"h2c", fields))
    assert received.startswith(b"HTTP/1.1 200 ")
    names = {name for name, _ in upstream.seen[-1].headers}
    assert not names & {b"upgrade", b"connection", b"http2-settings"}


@pytest.mark.parametrize(
    "head",
    [
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: identity, chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Content-Length: +44\r\n",
        b"Content-Length: 0x2c\r\n",
        b"Content-Length: 4 4\r\n",
        b"Content-Length: 44, 5\r\n",
        b"Content-Length: 44\r\nContent-Length: 044\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
    ],
)
def test_no_length_that_two_readers_read_in_two_ways_goes_on(url, upstream, head):
    """The body is one request for whoever reads no length, and text for whoever reads another."""
    body = b"0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    before = len(upstream.seen)
    received = raw(url, b"POST /v1/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + head + b"\r\n" + body)
    assert received.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501"))
    assert len(upstream.seen) == before


def test_requests_sent_at_once_are_answered_in_turn(url, upstream):
    before = len(upstream.seen)
    get_one = b"GET /v1/%d HTTP/1.1\r\nHost: a\r\n%s\r\n"
    received = raw(url, get_one % (1, b"") + get_one % (2, b"") + get_one % (3, b"Connection: close\r\n"))
    assert received.count(b"HTTP/1.1 200") == 3
    assert [seen.target for seen in upstream.seen[before:]] == [b"/v1/1", b"/v1/2", b"/v1/3"]


TURN = b'{"model": "m", %s "messages": [{"role": "user", "content": "a text"}]}'


@pytest.mark.parametrize(
    "more",
    [
        b'"temperature": 1e400,',
        b'"seed": 18446744073709551616,',
        b'"seed": NaN, "top_p": -Infinity,',
        b'"a": -0.0, "b": 1E-400, "c": 1.0000000000000000000001,',
        b'"messages": [{"role": "user", "content": "first"}],',
        b'"model": "n",  "model"  :  "m" ,',
        b'"metadata": {"\\ud800": "\\udfff", "": {}},',
        b'"tools": ' + b"[" * 400 + b"]" * 400 + b",",
    ],
)
def test_odd_values_beside_a_repaired_text_leave_as_they_came(url, upstream, more):
    status, headers, _ = post(f"{url}{CHAT}", TURN % more)
    assert (status, headers["x-llmkit-repair"]) == (200, "repaired")
    assert upstream.seen[-1].body == (TURN % more).replace(b"a text", b"A TEXT")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (gzip.compress(TURN % b"", mtime=0), {"Content_Encoding": "gzip"}),
        (b"\x8b\x01\x80a\x03", {"Content_Encoding": "br"}),
        (TURN % b"", {"Content_Encoding": "identity, gzip"}),
        (b"\xef\xbb\xbf" + TURN % b"", {}),
        ((TURN % b"").decode().encode("utf-16"), {}),
        (TURN % b'"seed": 1__0,', {}),
        (TURN % (b'"seed": ' + b"9" * 5000 + b","), {}),
    ],
)
def test_what_cannot_be_read_leaves_as_it_came_and_says_so(url, upstream, body, fields):
    status, headers, _ = post(f"{url}{CHAT}", body, **fields)
    assert (status, headers["x-llmkit-repair"], upstream.seen[-1].body) == (200, "skipped", body)
    encoding = fields.get("Content_Encoding")
    assert upstream.seen[-1].header("content-encoding") == encoding


def test_half_a_letter_beside_what_is_repaired_stays_half_a_letter(url, upstream):
    body = b'{"model": "m", "messages": [{"role": "user", "content": "a \\ud83d text"}]}'
    assert post(f"{url}{CHAT}", body)[1]["x-llmkit-repair"] == "repaired"
    assert upstream.seen[-1].body == body.replace(b"a \\ud83d text", b"A \\ud83d TEXT")


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_of_another_form_than_was_asked_for_passes_and_is_compared(tmp_path, upstream, streams):
    async def other(seen, send):
        if streams:
            message = {"role": "assistant", "content": "it is red"}
            await whole(send, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        else:
            await streamed(send, ["it", "is", "red"])

    log = tmp_path / "shadow.jsonl"
    opened = Log(log, RepairFile(chain="spell"), "no guarantee", texts=False, floor=0)
    upstream.reply, before = other, upstream.reply
    try:
        application = Proxy(Settings("shadow"), Upstream(upstream.url), [ScriptedWorker(in_capitals)], log=opened)
        with here(application) as url:
            answer = post(f"{url}{CHAT}", chat("a text", stream=streams))[2]
    finally:
        upstream.reply = before
    assert (b"it is red" in answer) if streams else answer.startswith(piece("it"))
    assert json.loads(log.read_text().splitlines()[1])["verdict"] == "same"
