"""Whatever dies, each request has an answer or an error: correctors, the server behind, the proxy itself."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil
import pytest
from helpers.upstreams import chat, echo, get, here, piece, post, proxy, repair_file, scripted, streamed

from llmkit.proxy import Proxy, worker
from llmkit.proxy.settings import Settings
from llmkit.proxy.upstream import Upstream
from llmkit.proxy.worker import Worker
from llmkit.repair import document

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"
NOISY, FIXED = "I have not recieved my ordr", "I have not received my order"
WORDS = ["word"] * 20


@pytest.fixture(scope="module")
def server():
    with scripted() as started:
        yield started


@pytest.fixture
def upstream(server):
    """The server behind, with its usual answers and nothing seen so far."""
    server.reply, server.left = echo, 0
    server.seen.clear()
    return server


@pytest.fixture(scope="module")
def both(server, tmp_path_factory):
    one = Worker(document.read(repair_file(tmp_path_factory.mktemp("deaths"))))
    with here(Proxy(Settings("repair"), Upstream(server.url), [one])) as url:
        yield one, url


@pytest.fixture
def repairing(both, upstream):
    """The worker of a proxy in this process, the proxy's address, and the server behind it."""
    return *both, upstream


def sent(url, text):
    """Asks, and returns what was done and the text that reached the server."""
    status, headers, answer = post(f"{url}{CHAT}", chat(text))
    assert status == 200
    return headers["x-llmkit-repair"], json.loads(answer)["choices"][0]["message"]["content"]


def stream(url):
    """Asks for a stream and returns what came of it: "whole", "cut" or "refused"."""
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        client.request("POST", CHAT, body=json.dumps(chat("a", stream=True)))
        answer = client.getresponse()
        content = answer.read()
        if answer.status != 200:
            return "refused"
        return "whole" if content.endswith(b"data: [DONE]\n\n") else "cut"
    except http.client.IncompleteRead:
        return "cut"
    except (ConnectionError, http.client.HTTPException):
        return "refused"
    finally:
        client.close()


async def slowly(seen, send):
    await streamed(send, WORDS, pause=0.1)


def test_a_server_that_dies_within_an_answer_is_seen_by_the_client(repairing):
    _, url, upstream = repairing

    async def dies(seen, send):
        await streamed(send, WORDS, breaks_after=3)

    upstream.reply = dies
    assert stream(url) == "cut"
    assert 'llmkit_proxy_upstream_errors_total{reason="broken"} 1' in get(f"{url}/metrics")


def test_bytes_come_as_the_server_sends_them(repairing):
    _, url, upstream = repairing
    upstream.reply = slowly
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    client.request("POST", CHAT, body=json.dumps(chat(NOISY, stream=True)))
    answer = client.getresponse()
    assert (answer.getheader("x-of-upstream"), answer.getheader("x-llmkit-repair")) == ("kept", "repaired")
    assert answer.read1() == piece("word")  # while the server goes on
    content = answer.read()
    client.close()
    assert content == piece(" word") * 19 + piece("", "stop") + b"data: [DONE]\n\n"


def test_a_corrector_that_dies_lets_texts_pass_until_it_is_back(repairing):
    one, url, _ = repairing
    assert sent(url, NOISY) == ("repaired", FIXED)
    os.kill(one.pid, signal.SIGKILL)
    assert sent(url, f"{NOISY} two") == ("failed", f"{NOISY} two")
    assert sent(url, NOISY) == ("repaired", FIXED)  # it is known
    deadline, number = time.monotonic() + 60, 0
    while sent(url, f"{NOISY} {number}")[0] == "failed" and time.monotonic() < deadline:
        number += 1
    assert sent(url, f"{NOISY} again") == ("repaired", f"{FIXED} again")
    # What was sent once is sent whenever it comes again: the server's prefix cache and its own history hold it so.
    assert sent(url, f"{NOISY} two") == ("failed", f"{NOISY} two")
    metrics = get(f"{url}/metrics")
    assert 'llmkit_proxy_failures_total{reason="corrector died"} ' in metrics
    assert "llmkit_proxy_worker_restarts 1\n" in metrics


def test_a_corrector_that_hangs_is_ended(repairing, monkeypatch):
    one, url, _ = repairing
    monkeypatch.setattr(worker, "HANG_SECONDS", 0.5)
    hanging = one.pid
    os.kill(hanging, signal.SIGSTOP)
    assert sent(url, f"{NOISY} now") == ("failed", f"{NOISY} now")
    deadline = time.monotonic() + 60
    while psutil.pid_exists(hanging) and psutil.Process(hanging).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert one.pid != hanging


def test_sigterm_under_load_lets_each_request_finish(upstream, tmp_path):
    upstream.reply = slowly
    flags = ("--repair", repair_file(tmp_path), "--mode", "repair", "--without-guarantee")
    with proxy(upstream.url, *flags) as started, ThreadPoolExecutor(24) as pool:
        waiting = [pool.submit(stream, started.url) for _ in range(24)]
        _until(lambda: len(upstream.seen) >= 25)
        started.process.terminate()
        outcomes = [future.result() for future in waiting]
        assert started.process.wait(60) == 0
    assert outcomes == ["whole"] * 24
    assert stream(started.url) == "refused"
    assert not any("Traceback" in line for line in started.lines)


def test_what_takes_longer_than_the_drain_is_cut_off_and_said_so(upstream):
    async def endless(seen, send):
        await streamed(send, WORDS * 1000, pause=0.1)

    async def silent(seen, send):
        await asyncio.sleep(60)

    async def reply(seen, send):
        await (endless if b"stream" in seen.body else silent)(seen, send)

    upstream.reply = reply
    with proxy(upstream.url, "--mode", "pass", "--drain", "1") as started, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(stream, started.url) for _ in range(4)]
        quiet = [pool.submit(post, f"{started.url}{CHAT}", chat("a")) for _ in range(2)]
        _until(lambda: len(upstream.seen) >= 6)
        started.process.terminate()
        assert [future.result() for future in waiting] == ["cut"] * 4
        assert [future.result()[0] for future in quiet] == [503, 503]
        assert started.process.wait(60) == 4
        _until(lambda: any("cut off" in line for line in started.lines))
    assert not any("Traceback" in line for line in started.lines)


def test_sigkill_under_load_leaves_no_client_waiting_and_no_process(upstream, tmp_path):
    upstream.reply = slowly
    flags = ("--repair", repair_file(tmp_path), "--mode", "repair", "--without-guarantee")
    with proxy(upstream.url, *flags) as started, ThreadPoolExecutor(24) as pool:
        children = psutil.Process(started.process.pid).children(recursive=True)
        assert children
        waiting = [pool.submit(stream, started.url) for _ in range(24)]
        _until(lambda: len(upstream.seen) >= 25)
        started.process.kill()
        assert {future.result() for future in waiting} <= {"cut", "refused"}
        _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def _until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()
