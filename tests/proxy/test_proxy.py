"""The proxy in a process of its own, between real clients and a scripted server."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.upstreams import chat, get, post, proxy, repair_file, whole

NOISY, FIXED = "I have not recieved my ordr from last week", "I have not received my order from last week"
CLEAN = "Where can I change the address of my order?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("proxy")


@pytest.fixture(scope="module")
def repairing(upstream, folder):
    flags = ("--repair", repair_file(folder), "--mode", "repair", "--without-guarantee")
    with proxy(f"{upstream.url}/v1", *flags) as started:
        yield started


def test_a_user_turn_is_repaired_and_the_headers_say_so(repairing, upstream):
    status, headers, answer = post(f"{repairing.url}/v1/chat/completions", chat(CLEAN, NOISY))
    assert status == 200
    assert json.loads(answer)["choices"][0]["message"]["content"] == FIXED
    assert (headers["x-llmkit-repair"], headers["x-llmkit-detector"]) == ("repaired", "unknown_words")
    assert json.loads(upstream.seen[-1].body)["messages"] == chat(CLEAN, FIXED)["messages"]


def test_what_no_gate_fired_on_leaves_as_the_very_bytes(repairing, upstream):
    body = b'{ "messages" :[{"role":"user","content":"Where \\u0069s my order?"}],"model":"m","n":1.0,"n":1e0 }\n'
    status, headers, _ = post(f"{repairing.url}/v1/chat/completions?a=%2F&b", body, Authorization="Bearer secret")
    assert (status, headers["x-llmkit-repair"], headers["x-llmkit-detector"]) == (200, "passed", None)
    seen = upstream.seen[-1]
    assert (seen.body, seen.target) == (body, b"/v1/chat/completions?a=%2F&b")
    assert seen.header("authorization") == "Bearer secret"
    assert seen.header("host") == upstream.url.removeprefix("http://")


def test_a_request_may_switch_it_off(repairing, upstream):
    _, headers, answer = post(f"{repairing.url}/v1/chat/completions", chat(NOISY), x_llmkit_repair="off")
    assert headers["x-llmkit-repair"] == "off"
    assert NOISY in answer.decode()
    assert upstream.seen[-1].header("x-llmkit-repair") == "off"  # a proxy behind heeds it, too


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 50_000, b'{"messages": 3}'])
def test_what_is_no_request_passes_untouched(repairing, upstream, body):
    async def refuse(seen, send):
        await whole(send, {"error": "bad"}, 400)

    upstream.reply, before = refuse, upstream.reply
    try:
        status, _, answer = post(f"{repairing.url}/v1/chat/completions", body)
    finally:
        upstream.reply = before
    assert (status, answer, upstream.seen[-1].body) == (400, b'{"error": "bad"}', body)


def test_other_paths_and_methods_pass(repairing, upstream):
    assert json.loads(get(f"{repairing.url}/v1/models"))["data"][0]["id"] == "m"
    body = json.dumps(chat(NOISY)).encode()
    status, headers, _ = post(f"{repairing.url}/v1/embeddings", body)
    assert (status, headers["x-llmkit-repair"], upstream.seen[-1].body) == (200, None, body)
    request = urllib.request.Request(f"{repairing.url}/v1/chat/completions", method="DELETE")
    with urllib.request.urlopen(request, timeout=60) as deleted:
        assert deleted.status == 200
    assert (upstream.seen[-1].method, upstream.seen[-1].body) == ("DELETE", b"")


def test_an_application_may_ask_for_a_repair_alone(repairing):
    status, _, answer = post(f"{repairing.url}/repair", {"text": NOISY})
    assert status == 200
    first = {"start": 11, "end": 19, "old": "recieved", "new": "received"}
    said = json.loads(answer)
    assert (said["text"], said["action"], said["detector"]) == (FIXED, "repaired", "unknown_words")
    assert said["edits"][0] == first
    assert json.loads(post(f"{repairing.url}/repair", {"text": CLEAN})[2])["edits"] == []
    assert post(f"{repairing.url}/repair", {"txt": CLEAN})[0] == 400
    assert post(f"{repairing.url}/repair", b"{")[0] == 400


def test_many_at_once_get_their_own_answers(repairing):
    def ask(number):
        text = f"{NOISY} {number}" if number % 2 else f"{CLEAN} {number}"
        return json.loads(post(f"{repairing.url}/v1/chat/completions", chat(text))[2])["choices"][0]["message"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    assert [message["content"] for message in answers] == [
        f"{FIXED} {number}" if number % 2 else f"{CLEAN} {number}" for number in range(64)
    ]


def test_the_metrics_count_what_was_done(repairing):
    text = get(f"{repairing.url}/metrics")
    assert 'llmkit_proxy_repairs_total{action="repaired"} ' in text
    assert 'llmkit_proxy_fired_total{detector="unknown_words"} ' in text
    assert 'llmkit_proxy_requests_total{endpoint="/v1/chat/completions",status="200"} ' in text
    assert "client left" not in text
    assert json.loads(get(f"{repairing.url}/health")) == {"status": "ok", "mode": "repair"}


def test_the_plain_client_streams_and_calls_tools(repairing, upstream):
    import openai

    client = openai.OpenAI(base_url=f"{repairing.url}/v1", api_key="k", max_retries=0)
    messages = [{"role": "user", "content": NOISY}]
    stream = client.chat.completions.create(model="m", messages=messages, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in stream) == FIXED
    tools = [{"type": "function", "function": {"name": "recieved", "parameters": {"type": "object"}}}]
    client.chat.completions.create(model="m", messages=messages, tools=tools)
    assert json.loads(upstream.seen[-1].body)["tools"] == tools
    assert [model.id for model in client.models.list()] == ["m"]
