"""A small OpenAI-compatible server that fails on command, and an application with an address of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

Route = Callable[[Any, Any], Any]
"""Answers a request to one address in its own way, given the handler and the request's body, or None for a GET."""
Fault = Callable[[str, int], Any]
"""From the text of the last message and the number of this try (0 first) to a fault's name, or None; or to a function
that is given the handler and the request's body and answers in its own way."""


class FaultServer:
    """Answers each message with its words backwards, after the faults that `fault` asks for. Use as a context manager.

    `change` turns a good answer into what is sent. `routes` are addresses of an application, by their paths.

    `tries` counts calls per message, `answered` good answers per message, `headers` keeps what was sent.
    """

    def __init__(
        self,
        fault: Fault = lambda text, attempt: None,
        *,
        model: str = "tiny",
        bias: float = 0.0,
        logprobs: bool = True,
        delay: float = 0.0,
        change: Callable[[dict[str, Any]], Any] = lambda answer: answer,
        certificate: tuple[Path, Path] | None = None,
        routes: Mapping[str, Route] = MappingProxyType({}),
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.routes = routes
        self.fault = fault
        self.model = model
        self.bias = bias
        self.logprobs = logprobs
        self.delay = delay
        self.change = change
        self.tries: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        outer = self

        class Handler(_Handler):
            server_ = outer

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away is no news."""

        self._http = Quiet((host, port), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
            self.url = f"https://localhost:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.die()

    def die(self) -> None:
        """Stop listening and drop every connection, as a killed server does."""
        self._http.shutdown()
        self._http.server_close()
        for open_socket in self._sockets:
            _reset(open_socket)


def _reset(open_socket: socket.socket) -> None:
    with contextlib.suppress(OSError):
        open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        open_socket.shutdown(socket.SHUT_RDWR)
        open_socket.close()


class _Handler(BaseHTTPRequestHandler):
    server_: FaultServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server_._sockets.append(self.connection)

    def log_message(self, *args: Any) -> None:
        """Keep the terminal clean."""

    def do_GET(self) -> Any:
        self._note()
        if route := self.server_.routes.get(self.path.split("?")[0]):
            return route(self, None)
        return self._send(200, {"object": "list", "data": [{"id": self.server_.model, "object": "model"}]})

    def do_POST(self) -> None:
        me = self.server_
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "null")
        self._note()
        if route := me.routes.get(self.path.split("?")[0]):
            with me._lock:
                me.bodies.append(body)
            return route(self, body)
        if not self.path.split("?")[0].endswith("completions"):
            return self._send(404, {"error": {"message": "no such page"}})
        text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        with me._lock:
            me.bodies.append(body)
            attempt = me.tries[text]
            me.tries[text] += 1
        if body["model"] != me.model:
            return self._send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        fault = me.fault(text, attempt)
        if callable(fault):
            return fault(self, body)
        if fault == "reset":
            self.close_connection = True
            return _reset(self.connection)
        if fault and fault.startswith("429"):
            return self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": fault[4:] or "0.05"})
        if fault == "echo":  # as servers do that complain with what they were sent
            return self._send(400, {"error": {"message": f"cannot read {self.path} with {dict(self.headers)}"}})
        if fault and fault.startswith("redirect "):
            return self._send(307, {}, {"Location": fault.removeprefix("redirect ")})
        if fault == "filter":  # as Azure refuses a question
            inner = {"code": "ResponsibleAIPolicyViolation"}
            error = {"message": "The prompt was filtered", "code": "content_filter", "status": 400, "innererror": inner}
            return self._send(400, {"error": error})
        if fault and fault.isdigit():
            return self._send(int(fault), {"error": {"message": f"fault {fault}"}})
        if fault == "stall":
            time.sleep(2.0)
        time.sleep(me.delay)
        answer = me.change(self._answer(body, text))
        if fault == "empty":
            answer["choices"] = []
        if fault == "truncated":
            return self._send_bytes(200, json.dumps(answer).encode()[:-25], {})
        if fault == "drip":
            return self._drip(json.dumps(answer).encode())
        with me._lock:
            me.answered[text] += not fault
        return self._send(200, answer)

    def _answer(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        words = text.split()
        said = " ".join(reversed(words)) + ("!" if self.server_.bias >= 1 else "")
        message: dict[str, Any] = {"role": "assistant", "content": said}
        if "think" in words:
            message["reasoning_content"] = "hm"
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": "length" if body.get("max_tokens", 99) < len(words) else "stop",
        }
        if "messages" in body:
            choice["message"] = message
            if body.get("logprobs") and self.server_.logprobs:
                top = [
                    {"token": f"t{i}", "logprob": -0.2 * (i + 1) - self.server_.bias, "bytes": None} for i in range(5)
                ]
                choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
        else:
            choice["text"] = said
        usage = {"prompt_tokens": len(words), "completion_tokens": len(words), "total_tokens": 2 * len(words)}
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def _drip(self, data: bytes) -> None:
        """One byte after the other, for longer than anybody should wait."""
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            for i in range(len(data)):
                self.wfile.write(data[i : i + 1])
                time.sleep(0.1)

    def _note(self) -> None:
        self.server_.headers.append({k.title(): v for k, v in self.headers.items()})
        self.server_.paths.append(self.path)

    def _send(self, status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(value).encode(), headers or {})

    def _send_bytes(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            sizes = {"Content-Type": "application/json", "Content-Length": str(len(data))}
            for name, value in (sizes | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    def _send_chunks(self, chunks: Iterable[bytes], kind: str = "text/event-stream", whole: bool = True) -> None:
        """Sends the pieces one after the other, each in a chunk of its own; without `whole` the end is missing."""
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for chunk in chunks:
                self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                self.wfile.flush()
            if whole:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = not whole
