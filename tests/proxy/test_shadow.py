"""Shadow mode: clients get the answer to what they sent, and the log says what a repair would change."""

from __future__ import annotations

import gzip
import json
import stat
import time

import pytest
from helpers.upstreams import (
    ScriptedWorker,
    chat,
    get,
    here,
    piece,
    post,
    proxy,
    repair_file,
    scripted,
    streamed,
    whole,
)

from llmkit.errors import DataError
from llmkit.proxy import Proxy, summary
from llmkit.proxy.answers import read_answer
from llmkit.proxy.settings import Settings
from llmkit.proxy.shadow import Log, unstored
from llmkit.proxy.upstream import Upstream
from llmkit.repair import Repaired, RepairFile
from llmkit.tasks.comparing import Response

NOISY, CLEAN = "When was my ordr recieved?", "Where is my order?"
JSON = ((b"content-type", b"application/json"),)
CUT = {"index": 0, "text": "a", "finish_reason": "length"}
ENDS = piece("", "stop") + b"data: [DONE]\n\n"
STREAM = ((b"content-type", b"text/event-stream"),)


async def counts_orders(seen, send):
    """Answers with a number that the repair changes, and with one that is another each time for "dice"."""
    text = seen.body.decode()
    number = 12 if "recieved" in text else 13
    if "dice" in text:
        number = 20 + len(text) + time.perf_counter_ns() % 1_000_003
    words = f"Order {number} was received on Monday."
    if '"stream": true' in text:
        await streamed(send, words.split(" "))
    else:
        message = {"role": "assistant", "content": words}
        await whole(send, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """The lines that a shadow of six requests wrote, the requests that the server saw, and the answers."""
    folder = tmp_path_factory.mktemp("shadow")
    log = folder / "shadow.jsonl"
    with scripted() as upstream:
        upstream.reply = counts_orders
        flags = ("--repair", repair_file(folder), "--mode", "shadow", "--log", log, "--floor", "1", "--texts")
        with proxy(upstream.url, *flags) as started:
            url = f"{started.url}/v1/chat/completions"
            bodies = [
                chat(NOISY, store=True),
                chat(NOISY, stream=True),
                chat(CLEAN),
                chat(CLEAN + " dice"),
                chat(CLEAN, NOISY, n=1),
            ]
            answers = [post(url, body, Authorization="Bearer secret-of-a-client") for body in bodies]
            post(url, chat(NOISY), x_llmkit_repair="off")
            metrics = get(f"{started.url}/metrics")
            started.process.terminate()
            assert started.process.wait(60) == 0
        assert "secret-of-a-client" not in log.read_text() + "".join(started.lines) + metrics
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        yield log, lines, list(upstream.seen), answers


def test_clients_get_the_answer_to_what_they_sent(logged):
    _, _, seen, answers = logged
    for status, headers, content in answers:
        assert (status, headers["x-llmkit-repair"]) == (200, "shadow")
        assert b"13" not in content or b"12" not in content
    assert b"Order 12 " in answers[0][2]
    assert sum(request.header("x-llmkit-repair") == "off" for request in seen) == 1  # a proxy behind heeds it, too


def test_only_what_can_show_something_is_asked_again_and_not_stored(logged):
    _, lines, seen, _ = logged
    again = [json.loads(request.body) for request in seen if b'"store": false' in request.body]
    assert len(again) == 5
    assert sum("received" in json.dumps(body) for body in again) == 3
    assert [line["asked"] for line in sorted(lines[1:], key=lambda line: line["asked"])] == ["repaired"] * 3 + [
        "same"
    ] * 2
    assert all(request.header("authorization") for request in seen if b'"store": false' in request.body)


def test_the_log_says_which_answers_changed(logged):
    _, lines, _, _ = logged
    assert lines[0]["shadow"] == 1
    by_asked = {asked: [line for line in lines[1:] if line["asked"] == asked] for asked in ("repaired", "same")}
    assert [line["verdict"] for line in by_asked["repaired"]] == ["facts"] * 3
    assert sorted(line["verdict"] for line in by_asked["same"]) == ["facts", "same"]
    assert {line["detector"] for line in by_asked["repaired"]} == {"unknown_words"}
    assert by_asked["repaired"][0]["sent"] == NOISY
    assert by_asked["repaired"][0]["repaired"] == "When was my order received?"


def test_the_log_is_shown_in_numbers(logged):
    log, _, _, _ = logged
    counted = summary.read(log)
    assert (counted.requests, counted.fired, counted.compared["facts"]) == (5, 3, 3)
    shown = summary.render(counted, log.name)
    assert "3 of 5 (60 % " in shown
    assert "3 another number" in shown
    assert "1 of 2 (50 % " in shown
    assert "Not known: whether a changed answer is better or worse." in shown
    assert counted.json()["harm_at_most"] == pytest.approx(0.924, abs=0.001)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_without_texts_the_log_holds_none(tmp_path):
    async def repairs(text):
        return Repaired(text.replace("recieved", "received"), (), "repaired", "unknown_words", 2.0)

    log = tmp_path / "shadow.jsonl"
    with scripted() as upstream:
        opened = Log(log, RepairFile(chain="spell"), "no guarantee", texts=False, floor=0)
        application = Proxy(Settings("shadow"), Upstream(upstream.url), [ScriptedWorker(repairs)], log=opened)
        with here(application) as url:
            post(f"{url}/v1/chat/completions", chat(NOISY))
            post(f"{url}/v1/chat/completions", chat(f"{NOISY} \ud800"))
            post(f"{url}/v1/responses", {"input": NOISY, "conversation": "one"})
        assert len(upstream.seen) == 5  # a conversation is not added to a second time
    written = log.read_text()
    assert len(written.splitlines()) == 4
    assert not any(word in written for word in ("ordr", "recieved", "received"))


@pytest.mark.parametrize(
    ("path", "headers", "content", "answer"),
    [
        (
            "chat/completions",
            JSON,
            {
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "tool_calls",
                        "message": {
                            "content": None,
                            "tool_calls": [{"function": {"name": "refund", "arguments": '{"id": 7}'}}],
                        },
                    }
                ]
            },
            Response("", [{"name": "refund", "arguments": {"id": 7}}]),
        ),
        ("completions", JSON, {"choices": [CUT]}, Response("a", [], True)),
        ("completions", JSON, {"choices": [CUT, {**CUT, "index": 1}]}, None),
        ("chat/completions", JSON, {"error": "no"}, None),
        ("chat/completions", JSON, b"{", None),
        ("chat/completions", STREAM, piece("a") + piece(" b") + ENDS, Response("a b", [])),
        ("chat/completions", STREAM, piece("a") + piece(" b"), None),
        ("chat/completions", STREAM, piece("a") + piece("", "stop") + b"data: {", None),
        (
            "responses",
            JSON,
            {
                "status": "completed",
                "output": [
                    {"type": "reasoning"},
                    {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
                    {"type": "function_call", "name": "f", "arguments": "{}"},
                ],
            },
            Response("a", [{"name": "f", "arguments": {}}]),
        ),
        (
            "responses",
            STREAM,
            b'event: response.completed\r\ndata: {"type": "response.completed", "response": {"status": "completed", '
            b'"output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}]}}\r\n\r\n',
            Response("a", []),
        ),
        ("responses", STREAM, b'data: {"type": "response.failed", "response": {}}\n\n', None),
    ],
)  # fmt: skip
def test_an_answer_is_read_in_each_form(path, headers, content, answer):
    written = content if isinstance(content, bytes) else json.dumps(content).encode()
    assert read_answer(f"/v1/{path}".encode(), headers, written) == answer
    zipped = (*headers, (b"content-encoding", b"gzip"))
    assert read_answer(f"/v1/{path}".encode(), zipped, gzip.compress(written)) == answer
    assert read_answer(f"/v1/{path}".encode(), (*headers, (b"content-encoding", b"br")), written) is None


def test_a_bomb_is_not_unpacked():
    bomb = gzip.compress(b'{"choices": [' + b" " * 100_000_000 + b"]}")
    assert read_answer(b"/v1/completions", (*JSON, (b"content-encoding", b"gzip")), bomb) is None


@pytest.mark.parametrize(
    ("body", "after"),
    [
        (b" {}", b' {"store": false}'),
        (b'{ "a":1}', b'{"store": false,  "a":1}'),
        (b'{"store":true,"store" : null}', b'{"store":false,"store" : false}'),
    ],
)
def test_a_second_answer_is_not_stored(body, after):
    assert unstored(body) == after


def test_a_log_of_a_proxy_that_died_is_read_up_to_there(tmp_path):
    log = tmp_path / "shadow.jsonl"
    first = '{"shadow": 1, "chain": "fold", "guarantee": "no guarantee: it was not calibrated"}\n'
    line = {
        "when": "now",
        "fired": 1,
        "action": "repaired",
        "detector": "",
        "added_ms": 1,
        "asked": None,
        "verdict": None,
    }
    log.write_text(first + json.dumps(line) + "\n" + '{"when": "no' + first + json.dumps(line)[:-4])
    counted = summary.read(log)
    assert (counted.requests, counted.torn) == (1, 2)
    assert "2 lines cut off" in summary.render(counted, "log")
    log.write_text(first)
    assert "0 requests" in summary.render(summary.read(log), "log")
    for content in ("", '{"a": 1}\n', "\xff\n"):
        log.write_text(content)
        with pytest.raises(DataError):
            summary.read(log)
