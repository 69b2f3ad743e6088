"""A scripted server behind the proxy, and the proxy itself, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn

from helpers import processes
from llmkit.proxy import Proxy, Running

Reply = Callable[["Seen", Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[None]]


class Seen(NamedTuple):
    """A request as it reached the scripted server."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Returns a field's value."""
        return next((value.decode("latin-1") for field, value in self.headers if field == name.encode()), None)


class Upstream:
    """A server whose answers a test scripts. `seen` are its requests, `left` counts clients that closed early."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.left = 0
        self.reply: Reply = echo
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        seen = Seen(scope["method"], target, scope["headers"], body)
        self.seen.append(seen)

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        answer, watch = asyncio.create_task(self.reply(seen, send)), asyncio.create_task(gone())
        await asyncio.wait({answer, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            self.left += 1
        answer.cancel()
        watch.cancel()
        await asyncio.gather(answer, watch, return_exceptions=True)


async def echo(seen: Seen, send: Any) -> None:
    """Answers a chat request with its last text, streamed where that is asked for; anything else with what came."""
    try:
        asked = json.loads(seen.body)
    except ValueError:
        asked = {}
    if seen.target.endswith(b"/models"):
        await whole(send, {"object": "list", "data": [{"id": "m", "object": "model"}]})
    elif isinstance(asked, dict) and "messages" in asked:
        content = asked["messages"][-1]["content"]
        words = content if isinstance(content, str) else json.dumps(content)
        if asked.get("stream"):
            await streamed(send, words.split(" "))
        else:
            message = {"role": "assistant", "content": words}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            await whole(send, {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
    else:
        await whole(send, {"target": seen.target.decode("latin-1"), "length": len(seen.body)})


async def whole(send: Any, value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Answers with JSON."""
    content = json.dumps(value).encode()
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": content})


def piece(word: str, finish: str | None = None) -> bytes:
    """Returns one event of a streamed chat answer."""
    choice = {"index": 0, "delta": {"content": word} if word else {}, "finish_reason": finish}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def streamed(send: Any, words: list[str], pause: float = 0.0, breaks_after: int | None = None) -> None:
    """Answers with a stream of events; breaks off after some of them, if asked to."""
    fields = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-of-upstream", b"kept")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for number, word in enumerate(words):
        if number == breaks_after:
            return
        await send({"type": "http.response.body", "body": piece(word if not number else f" {word}"), "more_body": True})
        await asyncio.sleep(pause)
    await send({"type": "http.response.body", "body": piece("", "stop") + b"data: [DONE]\n\n"})


@contextmanager
def scripted() -> Iterator[Upstream]:
    """Runs a scripted server in a thread of this process."""
    upstream = Upstream()
    config = uvicorn.Config(upstream, port=0, log_level="critical", ws="none", lifespan="off", http="h11")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.02)
    upstream.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.force_exit = server.should_exit = True
        thread.join(30)


class RawServer:
    """A server that reads a request and lets `answer` do what it likes with the connection, which it then closes."""

    def __init__(self) -> None:
        self.answer: Callable[[socket.socket], None] = lambda connected: None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def run(self) -> None:
        with suppress(OSError):  # closed at the end
            while True:
                connected, _ = self._listening.accept()
                with connected, suppress(OSError):  # the proxy may close first
                    connected.settimeout(30)
                    received_request(connected)
                    self.answer(connected)

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listening.close()


@contextmanager
def raw_server() -> Iterator[RawServer]:
    """Runs such a server in a thread of this process."""
    server = RawServer()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(30)


def received_request(connected: socket.socket) -> bytes:
    """Reads a request whose body has a length."""
    received = b""
    while b"\r\n\r\n" not in received and (piece_of_it := connected.recv(65536)):
        received += piece_of_it
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]) and (piece_of_it := connected.recv(65536)):
        body += piece_of_it
    return head + b"\r\n\r\n" + body


def post(url: str, body: Any, **headers: str) -> tuple[int, Any, bytes]:
    """Posts a body and returns the status, the headers and the answer's bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, content, fields), timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def get(url: str, **headers: str) -> str:
    """Returns a page as text."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read().decode()


def chat(*texts: str, **more: Any) -> dict[str, Any]:
    """Returns a chat request of these user turns."""
    return {"model": "m", "messages": [{"role": "user", "content": text} for text in texts], **more}


class Started(NamedTuple):
    """A proxy that runs in a process of its own."""

    url: str
    process: Any
    lines: list[str]
    """What it wrote on stderr so far."""


@contextmanager
def proxy(upstream: str, *flags: object, **variables: str) -> Iterator[Started]:
    """Runs `llmkit proxy` on a free port, and yields it when it is ready."""
    command = [sys.executable, "-m", "llmkit", "proxy", "--upstream", upstream, "--port", "0", "--json", *flags]
    pipes: dict[str, Any] = {"stdout": processes.subprocess.PIPE, "stderr": processes.subprocess.PIPE, "text": True}
    with processes.started(command, limit=120, env={**os.environ, **variables}, **pipes) as process:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")), daemon=True)
        reader.start()
        first = process.stdout.readline()
        if not first:
            reader.join(10)
            raise AssertionError(f"the proxy did not start: {''.join(lines)}")
        yield Started(json.loads(first)["url"].removesuffix("/v1"), process, lines)


class ScriptedWorker:
    """A worker whose repairs are a coroutine function of the text. `texts` are those that it was given."""

    waiting = restarts = 0

    def __init__(self, repair: Callable[[str], Awaitable[Any]]) -> None:
        self.repair = repair
        self.texts: list[str] = []

    async def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    async def begin(self, text: str) -> Any:
        self.texts.append(text)
        return await self.repair(text)


@contextmanager
def here(application: Proxy, **settings: Any) -> Iterator[str]:
    """Runs a proxy in a thread of this process, and yields its address."""
    ready = threading.Event()
    running = Running(application, "127.0.0.1", 0, ready=lambda _: ready.set(), **settings)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        assert ready.wait(120)
        yield running.url
    finally:
        running.stop()
        thread.join(60)


def repair_file(folder: Path, chain: str = "fold+spell", **more: Any) -> Path:
    """Writes a repair without a guarantee, whose gate fires on misspelt and disguised words."""
    knots = [[0.0, 0.0], [1.0, 2.0]]
    scales = [{"detector": name, "knots": knots} for name in ("lookalikes", "unknown_words")]
    path = folder / "repair.json"
    path.write_text(json.dumps({"chain": chain, "gate": {"scales": scales, "threshold": 1.5}, **more}))
    return path
