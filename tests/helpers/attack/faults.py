"""Every way in which a server has been seen, or could be made, to answer wrongly, given the handler and the body."""

from __future__ import annotations

import contextlib
import gzip
import json
import time
from collections.abc import Callable
from typing import Any

from helpers.attack.fuzz import HOSTILE
from helpers.fault_server import _reset

Handler = Any
Body = dict[str, Any]
Fault = Callable[[Handler, Body], None]

MEANINGLESS = "The answer is"


def raw(data: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> Fault:
    """Sends these bytes; `length` is what the header claims."""

    def answer(handler: Handler, body: Body) -> None:
        with contextlib.suppress(OSError):
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(data) if length is None else length))
            for name, value in ({"Content_Type": "application/json"} | headers).items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(data)
            if length is not None:
                handler.close_connection = True

    return answer


def error(status: int, message: str = "refused", **more: Any) -> Fault:
    return raw(json.dumps({"error": {"message": message, **more}}).encode(), status=status)


def changed(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """Sends a good answer in which one thing is different."""

    def answer(handler: Handler, body: Body) -> None:
        said = handler._answer(body, body["messages"][-1]["content"])
        value = change(said)
        raw(json.dumps(said if value is None else value).encode())(handler, body)

    return answer


def message(**fields: Any) -> Fault:
    return changed(lambda said: said["choices"][0].update(fields))


def usage(value: Any) -> Fault:
    return changed(lambda said: said.update(usage=value))


def counted(value: Any) -> Fault:
    return usage({"prompt_tokens": value, "completion_tokens": value, "total_tokens": value})


def drip(handler: Handler, body: Body) -> None:
    """A good answer, byte by byte: each comes in time, the whole of it does not."""
    data = json.dumps(handler._answer(body, "slow")).encode()
    with contextlib.suppress(OSError):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        for byte in data:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.03)
    handler.close_connection = True


def cut(handler: Handler, body: Body) -> None:
    """Half an answer, then the connection is gone."""
    data = json.dumps(handler._answer(body, "half an answer")).encode()
    with contextlib.suppress(OSError):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
    handler.close_connection = True
    _reset(handler.connection)


def zipped(data: bytes) -> Fault:
    return raw(data, Content_Encoding="gzip")


def sse(handler: Handler, body: Body) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "4"}}], "object": "chat.completion.chunk"}
    raw(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode(), Content_Type="text/event-stream")(handler, body)


def redirect(to: str) -> Fault:
    return raw(b"", status=307, Location=to)


# Answers that are none: a run in which every call ends like this has measured nothing.
REFUSED: dict[str, Fault | str] = {
    "401": error(401, "invalid api key"),
    "403": error(403),
    "404": error(404),
    "400": error(400, "bad request"),
    "500": error(500),
    "503": raw(b"", status=503),
    "429 for a year": raw(b"{}", status=429, Retry_After="31536000"),
    "429 and no number": raw(b"{}", status=429, Retry_After="soon"),
    "429 before now": raw(b"{}", status=429, Retry_After="-5"),
    "a page": raw(b"<!doctype html><title>Sign in</title>" + b"<p>x" * 2000, Content_Type="text/html"),
    "a page, 502": raw(b"<html>Bad Gateway</html>", status=502, Content_Type="text/html"),
    "server-sent events": sse,
    "an error with escapes": error(400, HOSTILE, type=HOSTILE, code=HOSTILE),
    "an error of a megabyte": error(400, "no " * 350_000),
    "an error that is a list": raw(b'[["x"]]', status=400),
    "an error that is no text": raw(b"\xff\xfe\x00", status=400),
    "error in a 200": raw(b'{"error": {"message": "overloaded"}}'),
    "nothing": raw(b""),
    "null": raw(b"null"),
    "a list": raw(b"[]"),
    "a number": raw(b"17"),
    "not JSON": raw(b'{"choices": [{'),
    "not UTF-8": raw(b'{"choices": "\xff\xfe"}'),
    "deep": raw(b"[" * 50_000 + b"]" * 50_000),
    "no choices": changed(lambda said: said.update(choices=[])),
    "choices null": changed(lambda said: said.update(choices=None)),
    "choices a text": changed(lambda said: said.update(choices="x")),
    "a choice that is null": changed(lambda said: said.update(choices=[None])),
    "message null": message(message=None),
    "message a text": message(message="x"),
    "content a number": message(message={"role": "assistant", "content": 7}),
    "content a number in a list": message(message={"role": "assistant", "content": [7, None]}),
    "a reset": "reset",
    "a cut connection": cut,
    "too long a length": raw(b'{"choices": []}', length=10_000),
    "too short a length": raw(b'{"choices": []}' * 9, length=20),
    "gzip that is none": zipped(b"plainly no gzip"),
    "a gzip bomb": zipped(gzip.compress(b" " * 2**24)),
    "a redirect to nowhere": redirect("http://127.0.0.1:9/v1"),
    "a redirect in circles": redirect("/v1/chat/completions"),
    "a redirect to a file": redirect("file:///etc/passwd"),
    "drip": drip,
}
# Answers that say something, each in a way of its own.
ODD: dict[str, Fault | str] = {
    "a content filter": error(400, "The response was filtered", code="content_filter"),
    "a list of parts": message(message={"role": "assistant", "content": [{"type": "text", "text": MEANINGLESS}]}),
    "content null": message(message={"role": "assistant", "content": None}),
    "content with escapes": message(message={"role": "assistant", "content": HOSTILE}),
    "a lone surrogate": message(message={"role": "assistant", "content": "\ud800"}),
    "a megabyte": message(message={"role": "assistant", "content": "word " * 50_000}),
    "no role": message(message={"content": MEANINGLESS}),
    "finish reason null": message(finish_reason=None),
    "finish reason a number": message(finish_reason=3),
    "no usage": usage(None),
    "usage a text": usage("many"),
    "usage NaN": counted(float("nan")),
    "usage 1e30": counted(1e30),
    "usage -1": counted(-1),
    "usage a text inside": counted("x"),
    "usage null inside": counted(None),
    "usage a fraction": counted(1.5),
    "logprobs null": message(logprobs=None),
    "top_logprobs null": message(
        logprobs={"content": [{"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": None}]}
    ),
    "logprobs of NaN": message(logprobs={"content": [{"token": "a", "logprob": float("nan"), "top_logprobs": []}]}),
    "logprobs a text": message(logprobs="x"),
    "another model": changed(lambda said: said.update(model="another")),
    "model null": changed(lambda said: said.update(model=None)),
    "two choices": changed(lambda said: said.update(choices=said["choices"] * 2)),
    "gzip": changed(lambda said: None),
}
FAULTS = REFUSED | ODD
